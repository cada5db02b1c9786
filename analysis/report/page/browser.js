"use strict";
// The dialogue browser: filters, a list that renders only what is seen, and one dialogue step by step.

const DATA = JSON.parse(document.getElementById("data").textContent);
const ALPHABET = DATA.alphabet, CODE = new Map([...ALPHABET].map((sign, i) => [sign, i]));
const ROW = 56, by = (id) => document.getElementById(id), NOTHING = ALPHABET.length - 1;
const HUES = ["var(--first)", "var(--second)", "var(--good)", "var(--muted)"];
const state = { run: 0, log: null, rows: [], at: 0, step: 0, share: 1, stop: () => 0 };

const safe = (words) => String(words).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const number = (n) => n.toLocaleString("en").replace(/,/g, "\u202f");
const percent = (p) => (p > 0.9949 && p < 1 ? "> 99 %" : p > 0 && p < 0.0051 ? "< 1 %" : `${Math.round(100 * p)} %`);
const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

// -- reading the packed logs ---------------------------------------------------------------------------------------

/** Where each dialogue starts in the packed strings; made once for each log. */
function opened(log, run) {
  if (log.starts) return log;
  log.starts = new Int32Array(log.lengths.length + 1);
  for (let i = 0; i < log.lengths.length; i++) log.starts[i + 1] = log.starts[i] + log.lengths[i];
  log.agents = run.agents;
  log.run = run;
  return log;
}
const talkOf = (log, i) => log.talk.slice(log.starts[i] * log.agents, log.starts[i + 1] * log.agents);

/** One dialogue, unpacked. */
function dialogue(log, i) {
  const n = log.agents, codes = (text) => Array.from(text, (sign) => CODE.get(sign));
  const rows = (flat) => Array.from({ length: flat.length / n }, (_, r) => flat.slice(r * n, r * n + n));
  const yielding = log.yielding ? codes(log.yielding.substr((log.starts[i] + i) * n, (log.lengths[i] + 1) * n)) : [];
  return {
    symbols: rows(codes(talkOf(log, i)).map((c) => c - 1)),
    speakers: log.speakers ? rows(codes(log.speakers.substr(log.starts[i] * n, log.lengths[i] * n))) : [],
    moves: Array.from({ length: n }, (_, a) => wide(log.moves, i * n + a)),
    knows: log.knows ? Array.from({ length: n }, (_, a) => known(log, log.run, i, a)) : [],
    success: log.success ? log.success[i] === "1" : null, gain: log.gains[i], joint: log.joint[i], cut: log.cut[i] === "1", decided: log.decided[i], episode: log.episodes[i],
    yielding: rows(yielding.map((c) => (c === NOTHING ? null : c / DATA.levels))),
  };
}
/** The i-th of values that take two signs each; -1 for none. */
const wide = (text, i) => CODE.get(text[2 * i]) * ALPHABET.length + CODE.get(text[2 * i + 1]) - 1;
/** What an agent knew in dialogue i: one line of words for each attribute that it had. */
function known(log, run, i, agent) {
  return run.attributes.flatMap(({ name, values }, p) => {
    const value = wide(log.knows, (i * log.agents + agent) * run.attributes.length + p);
    return value < 0 ? [] : [`${name} ${values[value] ?? value}`];
  });
}
const onTrack = (run) => run.onTrack;
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
/** A game's own name for an agent, with the letter that stands for it in the transcript. */
const agentName = (run, i) => (run.named ? `${LETTERS[i] || i + 1}: ${run.names[i]}` : `${run.agent} ${LETTERS[i] || i + 1}`);
const word = (run, s) => (s < 0 ? "–" : s === run.nTokens ? "EOT" : String(s));
/** How a dialogue ended: in the game's words or, where the game declares no success, what it brought. */
const outcome = (run, d) => (d.success === null ? `mean reward ${d.gain > 0 ? "+" : ""}${d.gain}` : run.outcomes[Number(d.success)]);
const classOf = (d) => (d.success === null ? "" : d.success ? "success" : "failure");

// -- filters -------------------------------------------------------------------------------------------------------

function showRun(index) {
  state.run = index;
  document.querySelectorAll(".run").forEach((section) => { section.hidden = Number(section.dataset.run) !== index; });
  document.querySelectorAll(".top nav button").forEach((b, i) => b.setAttribute("aria-pressed", String(i === index)));
  const run = DATA.runs[index], form = by("filters");
  form.log.innerHTML = run.logs.map((log, i) => `<option value="${i}">${safe(log.title)}</option>`).join("");
  by(`play-${index}`).append(by("play"));
  showPlay(run);
  by("browser").hidden = !run.logs.length;
  if (run.logs.length) showLog();
}

function showLog() {
  const run = DATA.runs[state.run], form = by("filters");
  state.log = opened(run.logs[Number(form.log.value) || 0], run);
  const log = state.log, rounds = [...new Set(log.decided)].sort((a, b) => a - b);
  form.decided.innerHTML = '<option value="">any round</option>' + rounds.map((r) =>
    `<option value="${r}">${r < 0 ? "never, or unknown" : r === 0 ? "no talk" : `round ${r}`}</option>`).join("");
  const all = log.lengths.length === log.of;
  const chosen = run.agents && log.title === "training" ? "drawn evenly over the course of training" : log.success ? "every failure up to a limit, and an even sample of the rest" : "an even sample";
  form.outcome.querySelectorAll('[value="success"], [value="failure"]').forEach((option) => { option.hidden = option.disabled = !log.success; });
  by("sample").textContent = all ? `All ${number(log.of)} dialogues of this log.`
    : `${number(log.lengths.length)} of ${number(log.of)} dialogues: ${chosen}. Shares among them are not the shares of the log.`;
  filter();
  const told = state.rows.findIndex((i) => (!log.success || log.success[i] === "1") && log.lengths[i] > 1);
  if (told > 0) choose(told);
}

/** The part of the address that opens one dialogue. */
const addressOf = (run, log, i) => `dialogue-${run}-${log}-${i}`;

/** Open the dialogue that the address names; false where it names none. */
function openAddress() {
  const [run, log, i] = (/^#dialogue-(\d+)-(\d+)-(\d+)$/.exec(location.hash) || []).slice(1).map(Number);
  if (!(i < DATA.runs[run]?.logs[log]?.lengths.length)) return false;
  if (run !== state.run) showRun(run);
  const form = by("filters");
  form.reset();
  form.log.value = String(log);
  showLog();
  choose(i);
  by("browser").scrollIntoView({ block: "start" });
  return true;
}

function filter() {
  const form = by("filters"), log = state.log, run = DATA.runs[state.run];
  const least = form.least.value === "" ? 0 : Number(form.least.value);
  const most = form.most.value === "" ? Infinity : Number(form.most.value);
  const wanted = form.outcome.value, decided = form.decided.value;
  let test = null;
  form.pattern.setAttribute("aria-invalid", "false");
  let trouble = "";
  if (form.pattern.value.trim()) {
    try {
      const found = compilePattern(form.pattern.value, run.agents, run.nTokens, ALPHABET);
      test = (talk) => found.test(talk) || (form.mirrored.checked && run.agents === 2 && found.test(mirrored(talk)));
    } catch (error) {
      form.pattern.setAttribute("aria-invalid", "true");
      trouble = error.message;
    }
  }
  const rows = [];
  for (let i = 0; i < log.lengths.length; i++) {
    if (log.lengths[i] < least || log.lengths[i] > most) continue;
    if (decided !== "" && log.decided[i] !== Number(decided)) continue;
    if (wanted === "cut" ? log.cut[i] !== "1" : wanted && log.success && (log.success[i] === "1") !== (wanted === "success")) continue;
    if (test && !test(talkOf(log, i))) continue;
    rows.push(i);
  }
  const length = (i) => log.lengths[i];
  if (form.order.value) rows.sort((a, b) => (form.order.value === "short" ? length(a) - length(b) : length(b) - length(a)) || a - b);
  state.rows = rows;
  by("count").textContent = trouble ? `That pattern cannot be read: ${trouble}` : `${plural(number(rows.length), "dialogue").replace(/^1 dialogues$/, "1 dialogue")} of ${number(log.lengths.length)} shown`;
  by("list").scrollTop = 0;
  choose(0);
}
const mirrored = (talk) => talk.replace(/(.)(.)/gs, "$2$1");

// -- the list ------------------------------------------------------------------------------------------------------

function paintList() {
  const list = by("list"), rows = state.rows, run = DATA.runs[state.run];
  by("spacer").style.height = `${rows.length * ROW}px`;
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 4);
  const last = Math.min(rows.length, first + Math.ceil(list.clientHeight / ROW) + 9);
  let html = "";
  for (let r = first; r < last; r++) {
    const d = dialogue(state.log, rows[r]), result = outcome(run, d);
    const wide = d.symbols.slice(0, 40).map((round) => Math.max(...round.map((s) => word(run, s).length)));
    const score = Array.from({ length: run.agents }, (_, i) => `<span class="${"ab"[i] || ""}">${d.symbols.slice(0, 40).map((s, t) =>
      `<span${s[i] === run.nTokens ? " class=e" : ""}>${word(run, s[i]).padEnd(wide[t])}</span>`).join(" ")}${d.symbols.length || i ? "" : "(no talk)"}</span>`).slice(0, 2).join("");
    const spoken = d.symbols.slice(0, 12).map((s) => s.map((x) => word(run, x)).join(" ")).join(", ");
    html += `<div class=row role=option id="row-${r}" data-row="${r}" style="top:${r * ROW}px" aria-selected="${r === state.at}" aria-setsize="${rows.length}" aria-posinset="${r + 1}"`
      + ` aria-label="${result}, ${plural(d.symbols.length, "round")}: ${spoken}"><span class="mark ${classOf(d)}" aria-hidden=true>${d.success === null ? "·" : d.success ? "✓" : "✕"}</span>`
      + `<span class=score aria-hidden=true>${score}</span><span class=size aria-hidden=true>${plural(d.symbols.length, "round")}${d.cut ? "<br>cut" : ""}</span></div>`;
  }
  by("spacer").innerHTML = html;
  list.toggleAttribute("aria-activedescendant", false);
  if (rows.length) list.setAttribute("aria-activedescendant", `row-${state.at}`);
}

/** Select a row and show its dialogue; `play` lets it run from the beginning. */
function choose(r, scroll = true) {
  const list = by("list");
  state.at = Math.max(0, Math.min(r, state.rows.length - 1));
  const top = state.at * ROW;
  if (scroll && top < list.scrollTop) list.scrollTop = top;
  if (scroll && top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
  paintList();
  const empty = !state.rows.length;
  by("stage").hidden = empty;
  if (!empty) { state.current = dialogue(state.log, state.rows[state.at]); go(state.current.symbols.length + 1, false); }
}

// -- one dialogue --------------------------------------------------------------------------------------------------

/** What agent i heard in a round, as far as the log can tell. */
function heard(run, symbols, i) {
  const others = symbols.filter((_, k) => k !== i).map((s) => word(run, s)).join(" ");
  switch (run.channel) {
    case "off": return "nothing: there is no channel";
    case "constant": return "0, whatever was said";
    case "self": return `${word(run, symbols[i])}, its own symbol`;
    case "shuffled": return "something from another dialogue";
    case "oracle": return "its role, whatever was said";
    case "noisy": return `${others}, unless the noise changed it`;
    default: return others;
  }
}

function go(step, animate = true) {
  const d = state.current, end = d.symbols.length + 1;
  state.step = Math.max(0, Math.min(step, end));
  state.stop();
  state.share = 1;
  paintStage();
  if (state.step === end && animate) state.stop = drive((share) => { state.share = share; paintScene(); });
}

function paintScene() {
  const run = DATA.runs[state.run], d = state.current, end = d.symbols.length + 1, step = state.step;
  if (!onTrack(run)) { by("scene").innerHTML = ""; return; }
  const round = step > 0 && step < end ? d.symbols[step - 1] : null, acted = step === end;
  const headline = acted ? (d.success ? "they part" : "crash") : step === 0 ? "nothing said yet" : `round ${step}`;
  const talked = d.symbols.length ? `after ${plural(d.symbols.length, "round")} of talk${d.cut ? ", cut" : ""}` : "without a word";
  const closing = round && round.every((s) => s === run.nTokens);
  const detail = acted ? talked : step === 0 ? "both trains are alike" : closing ? "both say EOT: the talk ends" : round[0] === round[1] ? "both say the same" : "they say different things";
  by("scene").innerHTML = sceneOf({
    said: round ? round.map((s) => word(run, s)) : [null, null], eot: round ? round.map((s) => s === run.nTokens) : [],
    moves: acted && d.moves.every((m) => m >= 0) ? d.moves : null, share: state.share, headline, detail,
  });
}

function paintStage() {
  const run = DATA.runs[state.run], d = state.current, end = d.symbols.length + 1, step = state.step, result = outcome(run, d);
  by("which").textContent = `Episode ${number(d.episode)}${d.joint === undefined ? "" : `, joint move ${number(d.joint + 1)}`}`;
  by("link").href = `#${addressOf(state.run, Number(by("filters").log.value), state.rows[state.at])}`;
  by("outcome").className = classOf(d);
  by("outcome").textContent = `${result} · ${plural(d.symbols.length, "round")}${d.cut ? " · cut" : ""}${d.decided > 0 ? ` · decided after round ${d.decided}` : ""}`;
  by("step").textContent = step === end ? "the moves" : step === 0 ? "before the talk" : `round ${step} of ${d.symbols.length}`;
  by("first").disabled = by("back").disabled = step === 0;
  by("last").disabled = by("forward").disabled = step === end;
  paintScene();
  const last = run.moves[run.moves.length - 1], known = d.yielding[Math.min(step, d.symbols.length)];
  by("trains").innerHTML = d.moves.map((move, i) => {
    const round = step > 0 && step < end ? d.symbols[step - 1] : null;
    const spoke = round && d.speakers.length ? ` (speaks ${["first", "second"][d.speakers[step - 1].indexOf(i)] || `as number ${d.speakers[step - 1].indexOf(i) + 1}`})` : "";
    const told = step === end ? `takes <b>${safe(move < 0 ? "no part" : run.moves[move])}</b>`
      : round ? `says <b>${word(run, round[i])}</b>${spoke}<br>hears <b>${safe(heard(run, round, i))}</b>` : "has heard nothing";
    const p = known ? known[i] : null;
    const meter = p === null || p === undefined ? "" : `<div class=meter role=img aria-label="${safe(last)} ${percent(p)}"><i style="width:${100 * p}%"></i></div>`
      + `<div class=legend><span>${step === end ? "would take" : "would now take"} ${safe(last)}</span><span>${percent(p)}</span></div>`;
    return `<div class=train style="--hue:${HUES[i % 4]}"><h5>${safe(agentName(run, i))}</h5>${knew(d, i)}<p>${told}</p>${meter}</div>`;
  }).join("");
  paintTranscript(run, d, end, last);
  by("stage-help").textContent = d.yielding.length
    ? "The bars show what the network would do if the talk were cut at this point and it had to move: they come from the checkpoint, not from the log. ← and → step through the rounds."
    : "No probabilities: they need the network that held these dialogues, and a game with two moves. ← and → step through the rounds.";
}

/** The line that says what an agent knew; none where the game has no attributes. */
const knew = (d, i) => (d.knows.length ? `<p class=knows>knows ${d.knows[i].length ? `<b>${safe(d.knows[i].join(", "))}</b>` : "nothing of its own"}</p>` : "");

function paintTranscript(run, d, end, last) {
  const probs = d.yielding.length > 0;
  const bar = (p, i) => (p === null ? "–" : `<span class=bar style="--hue:${HUES[i % 4]}"><i style="width:${100 * p}%"></i></span>${percent(p)}`);
  const head = d.moves.map((_, i) => `<th scope=col>${"ABCDEFGH"[i] || i + 1} says</th>`).join("") + (probs ? d.moves.map((_, i) => `<th scope=col>${"ABCDEFGH"[i]} → ${safe(last)}</th>`).join("") : "");
  const line = (step, name, cells, p) => `<tr data-step="${step}"${step === state.step ? " aria-current=step" : ""}><th scope=row>${name}</th>${cells}${probs ? p : ""}</tr>`;
  const blank = d.moves.map(() => "<td></td>").join("");
  const rows = d.symbols.map((symbols, t) => line(t + 1, t + 1, symbols.map((s, i) => `<td class="s${i}">${word(run, s)}</td>`).join(""), (d.yielding[t + 1] || []).map((p, i) => `<td>${bar(p, i)}</td>`).join("")));
  const start = probs ? line(0, "start", blank, d.yielding[0].map((p, i) => `<td>${bar(p, i)}</td>`).join("")) : "";
  const moves = line(end, "move", d.moves.map((m, i) => `<td class="s${i}">${m < 0 ? "–" : safe(run.moves[m])}</td>`).join(""), blank);
  by("transcript").innerHTML = `<thead><tr><th scope=col>round</th>${head}</tr></thead><tbody>${start}${rows.join("")}${moves}</tbody>`;
  const now = by("transcript").querySelector("[aria-current]"), box = by("transcript").parentElement;
  if (now) box.scrollTop = Math.max(0, now.offsetTop - box.clientHeight / 2);
}

// -- hands ---------------------------------------------------------------------------------------------------------

by("filters").addEventListener("input", (event) => (event.target.name === "log" ? showLog() : filter()));
by("filters").addEventListener("submit", (event) => event.preventDefault());
by("filters").addEventListener("click", (event) => {
  if (!event.target.closest("#clear")) return;
  by("filters").reset();
  showLog();
});
window.addEventListener("hashchange", openAddress);
by("list").addEventListener("scroll", () => paintList());
by("list").addEventListener("click", (event) => {
  const row = event.target.closest(".row");
  if (!row) return;
  choose(Number(row.dataset.row), false);
  if (window.innerWidth <= 760) by("stage").scrollIntoView({ block: "start" });
});
by("list").addEventListener("keydown", (event) => {
  const page = Math.floor(by("list").clientHeight / ROW) - 1;
  const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
  const steps = { ArrowRight: 1, ArrowLeft: -1 };
  if (event.key in moves) choose(Math.max(0, Math.min(state.at + moves[event.key], state.rows.length - 1)));
  else if (event.key in steps && state.rows.length) go(state.step + steps[event.key]);
  else if (event.key === "Enter") by("stage").focus();
  else return;
  event.preventDefault();
});
by("stage").addEventListener("keydown", (event) => {
  const to = { ArrowRight: state.step + 1, ArrowLeft: state.step - 1, Home: 0, End: Infinity }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  go(to);
});
by("transcript").addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-step]");
  if (row) go(Number(row.dataset.step));
});
for (const [id, to] of [["first", () => 0], ["back", () => state.step - 1], ["forward", () => state.step + 1], ["last", () => Infinity]]) {
  by(id).addEventListener("click", () => go(to()));
}
document.addEventListener("click", (event) => {
  const button = event.target.closest(".top nav button, button.link");
  if (!button) return;
  showRun(Number(button.dataset.run));
  by(`run-${state.run}`).scrollIntoView({ block: "start" });
});
window.addEventListener("resize", () => paintList());
