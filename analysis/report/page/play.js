"use strict";
// Play it: the reader in one train's place and the frozen network in the other; or two that play while the reader looks.

const play = { run: null, rules: null, network: null, machine: null, talk: null, seats: [], keepers: [], tally: {}, stop: () => 0 };
const MODES = [
  ["0", "you are train A"], ["1", "you are train B"], ["networks", "two networks"], ["machine", "the network and its machine"],
];

/** Open the network of a run, or say why there is none to play with. */
function showPlay(run) {
  const packed = run.play;
  play.run = run;
  play.tally = {};
  by("playground").hidden = Boolean(packed.absent);
  by("play-says").textContent = packed.absent ? `Not here: ${packed.absent}.`
    : "Take the place of one train; the frozen network drives the other, and neither knows which train it is. Say tokens; when both say EOT in the same round the talk is over, and both move at once. Same track: crash.";
  if (packed.absent) return;
  play.rules = packed.rules;
  play.network = new Network(packed.network);
  play.machine = packed.machine && new Machine(packed.machine);
  by("play-mode").innerHTML = MODES.filter(([mode]) => mode !== "machine" || play.machine)
    .map(([mode, name]) => `<option value="${mode}">${name}</option>`).join("");
  newGame();
}

const yourSeat = () => (by("play-mode").value.length === 1 ? Number(by("play-mode").value) : null);

function newGame() {
  const { rules, network, machine } = play, mode = by("play-mode").value;
  play.stop();
  play.talk = newTalk(rules);
  play.seats = [0, 1].map((seat) => (seat === 1 && mode === "machine" ? new MachineSeat(rules, machine, seat) : new NetworkSeat(rules, network, seat)));
  play.keepers = machine ? [0, 1].map((seat) => new MachineSeat(rules, machine, seat)) : [];
  play.course = [];
  look();
  paintPlay(1);
}

/** Every seat sees the talk as it stands, also the network in whose place the reader sits: it gives the hints. */
function look() {
  for (const seat of [...play.seats, ...play.keepers]) seat.see(play.talk);
  play.course.push(play.keepers.map((keeper) => keeper.label));
}

/** One step: the reader does `chosen`, whoever else plays draws. */
function takeStep(chosen) {
  const you = yourSeat();
  if (play.talk.moves) return;
  if (you !== null && !play.rules.legal[play.talk.phase][chosen]) return;
  const actions = play.seats.map((seat, i) => (i === you ? chosen : drawn(seat.odds, newRace(seat.odds.length))));
  play.talk = afterActions(play.rules, play.talk, actions);
  if (!play.talk.moves) {
    look();
    paintPlay(1);
    return;
  }
  const mode = you === null ? by("play-mode").value : "you", tally = (play.tally[mode] ||= [0, 0]);
  tally[Number(play.talk.success)] += 1;
  play.stop = drive(paintPlay);
}

/** The name of a state, a score to two digits. */
const stateName = (label) => label.replace(/[+-]\d+\.\d+/, (score) => (score < 0 ? "−" : "+") + Math.abs(score).toFixed(2));
const actionName = (action) => (action < play.rules.nTokens ? String(action) : action === play.rules.nTokens ? "EOT" : play.run.moves[action - play.rules.nTokens - 1]);
const seatName = (i) => `train ${LETTERS[i]}`;
function driver(i) {
  const you = yourSeat();
  return i === you ? "you" : i === 1 && you === null && by("play-mode").value === "machine" ? "its machine" : "network";
}

function paintPlay(share) {
  const { talk, rules } = play, rounds = talk.symbols, last = rounds[rounds.length - 1];
  const headline = talk.moves ? (talk.success ? "they part" : "crash") : rounds.length ? `round ${rounds.length}` : "nothing said yet";
  const detail = talk.moves ? `after ${plural(rounds.length, "round")} of talk` : talk.phase === ACT ? (talk.cut ? "the talk is cut: move" : "both said EOT: move") : rounds.length ? "the talk goes on" : "both trains are alike";
  by("play-scene").innerHTML = sceneOf({
    said: last ? last.map((s) => word(play.run, s)) : [null, null], eot: last ? last.map((s) => s === rules.nTokens) : [],
    moves: talk.moves, share, headline, detail, names: [0, 1].map((i) => `${LETTERS[i]}: ${driver(i)}`),
  });
  paintHands();
  paintCourse();
  paintHint();
}

/** What the reader can do now, and how it has gone so far. */
function paintHands() {
  const { talk, rules, run } = play, you = yourSeat(), over = talk.moves !== null;
  const legal = rules.legal[talk.phase], all = legal.map((_, action) => action);
  const button = (action) => `<button type="button" data-action="${action}"${over || !legal[action] ? " disabled" : ""}>${safe(actionName(action))}</button>`;
  by("play-hands").innerHTML = you === null
    ? `<button type="button" id="play-step"${over ? " disabled" : ""}>one step →</button><button type="button" id="play-end"${over ? " disabled" : ""}>to the end ⇥</button>`
    : `<span class=set role=group aria-label="say">say ${all.slice(0, rules.nTokens + 1).map(button).join("")}</span> <span class=set role=group aria-label="move">move ${all.slice(rules.nTokens + 1).map(button).join("")}</span>`;
  const took = over ? [0, 1].map((i) => `${driver(i)} (${LETTERS[i]}) took ${run.moves[talk.moves[i]]}`).join(", ") : "";
  const due = you === null ? "" : talk.phase === ACT ? "Your move." : talk.phase === TALK ? "Your word." : "Your word, or a move at once.";
  by("play-told").textContent = over ? `${took}: ${run.outcomes[Number(talk.success)]}.` : due;
  by("play-told").className = over ? (talk.success ? "success" : "failure") : "";
  const tally = play.tally[you === null ? by("play-mode").value : "you"];
  by("play-tally").textContent = tally ? `so far: ${tally[1]} × ${run.outcomes[1]}, ${tally[0]} × ${run.outcomes[0]}` : "";
}

/** What was said, round by round, with the running score of the rule where hints are wanted. */
function paintCourse() {
  const { talk, run } = play, hints = by("play-hints").checked && play.keepers.length > 0, who = yourSeat() ?? 0;
  const head = `<th scope=col>round</th><th scope=col>A says</th><th scope=col>B says</th>${hints ? `<th scope=col>rule, ${LETTERS[who]}</th>` : ""}`;
  const rows = talk.symbols.map((round, t) => `<tr><th scope=row>${t + 1}</th>${round.map((s, i) => `<td class="s${i}">${word(run, s)}</td>`).join("")}`
    + `${hints ? `<td>${safe(stateName((play.course[t + 1] || [])[who] ?? ""))}</td>` : ""}</tr>`);
  if (talk.moves) rows.push(`<tr><th scope=row>move</th>${talk.moves.map((m, i) => `<td class="s${i}">${safe(run.moves[m])}</td>`).join("")}${hints ? "<td></td>" : ""}</tr>`);
  by("play-talk").innerHTML = `<thead><tr>${head}</tr></thead><tbody>${rows.join("") || `<tr><td colspan=${hints ? 4 : 3}>Nothing said yet.</td></tr>`}</tbody>`;
  by("play-talk").parentElement.scrollTop = 1e6;
}

/** What whoever drives a seat would do now, and what the rule makes of the talk. */
function paintHint() {
  const box = by("play-hint"), { talk, run, rules } = play, you = yourSeat();
  box.hidden = !by("play-hints").checked || talk.moves !== null;
  if (box.hidden) return;
  const yielding = safe(run.moves[run.moves.length - 1]);
  box.innerHTML = (you === null ? [0, 1] : [you]).map((i) => {
    const likely = shares(play.seats[i].odds).map((p, action) => [p, action]).filter(([, action]) => rules.legal[talk.phase][action]);
    const bars = likely.map(([p, action]) => `<tr><th scope=row>${safe(actionName(action))}</th><td><span class=bar style="--hue:${HUES[i]}"><i style="width:${100 * p}%"></i></span>${percent(p)}</td></tr>`).join("");
    const keeper = play.keepers[i];
    const rule = keeper ? `<p>Its rule (${safe(play.run.play.rule)}): <b>${safe(stateName(keeper.label))}</b>, so if it moved now, ${yielding} with ${percent(keeper.yields)}.</p>` : "<p>No rule was named that could keep a score.</p>";
    return `<div class=train style="--hue:${HUES[i]}"><h5>${i === you ? "In your place the network would" : `${seatName(i)}: ${driver(i)} would`}</h5><table>${bars}</table>${rule}</div>`;
  }).join("");
}

by("play-mode").addEventListener("change", newGame);
by("play-new").addEventListener("click", newGame);
by("play-hints").addEventListener("change", () => { paintCourse(); paintHint(); });
by("play-hands").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.id === "play-end") while (!play.talk.moves) takeStep();
  else takeStep(button.id ? undefined : Number(button.dataset.action));
  if (play.talk.moves) by("play-new").focus({ preventScroll: true });
  else (by("play-hands").querySelector(`button[data-action="${button.dataset.action}"]:enabled, #play-step`) || by("play-hands").querySelector("button:enabled")).focus({ preventScroll: true });
});
by("playground").addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("select, input")) return;
  const key = event.key.toLowerCase(), names = play.rules.legal[0].map((_, action) => actionName(action).toLowerCase());
  const action = names.findIndex((name, a) => (a < play.rules.nTokens ? name === key : name[0] === key));
  if (key === "n") newGame();
  else if (yourSeat() === null && key === "arrowright") takeStep();
  else if (yourSeat() !== null && action >= 0) takeStep(action);
  else return;
  event.preventDefault();
  by("playground").focus({ preventScroll: true });
});
