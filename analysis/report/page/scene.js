"use strict";
// Two trains at a crossing as SVG: waiting while they talk, then on the main line or the detour.

const LINE = 188, DETOUR = 108, WIDE = 520, CAR = 42, GAP = 4;

/** The height of the track at x, on the detour or the main line. */
function railAt(x, detour) {
  const off = Math.min(1, Math.max(0, (150 - Math.abs(x - WIDE / 2)) / 95));
  return LINE + (detour ? (DETOUR - LINE) * (1 - Math.cos(Math.PI * off)) / 2 : 0);
}

function railPath(detour, shift) {
  let path = "";
  for (let x = -10; x <= WIDE + 10; x += 5) path += `${path ? "L" : "M"}${x} ${(railAt(x, detour) + shift).toFixed(1)}`;
  return path;
}

/** One car, its centre at x; the engine leads. */
function car(x, detour, hue, engine, leftward, tilt) {
  const slope = (railAt(x + 6, detour) - railAt(x - 6, detour)) / 12;
  const turn = Math.atan(slope) * 180 / Math.PI + tilt + (leftward ? 180 : 0);
  const nose = engine ? `M${-CAR / 2} -10h${CAR - 12}q12 0 12 10t-12 10h${-(CAR - 12)}z` : `M${-CAR / 2} -10h${CAR}v20h${-CAR}z`;
  const panes = engine ? `<path d="M3 -6h7q3 6 0 12h-7z"/>` : [-13, -2, 9].map((at) => `<path d="M${at} -5h6v10h-6z"/>`).join("");
  return `<g transform="translate(${x.toFixed(1)} ${railAt(x, detour).toFixed(1)}) rotate(${turn.toFixed(1)})">`
    + `<path d="${nose}" fill="${hue}" stroke="var(--card)" stroke-width="1.5" stroke-linejoin="round"/>`
    + `<g fill="var(--card)" opacity=".55">${panes}</g></g>`;
}

/** A train with its nose at `front`, travelling to the right, or to the left. */
function train(front, detour, hue, leftward, met) {
  const back = leftward ? 1 : -1;
  return [1, 0].map((i) => car(front + back * (CAR / 2 + i * (CAR + GAP)), detour, hue, i === 0, leftward, met && i === 0 ? 9 * back : 0)).join("");
}

function bubble(x, said, hue, eot) {
  if (said === null) return "";
  const wide = said.length > 1 ? 62 : 46;
  return `<g transform="translate(${x} 66)"><path d="M-7 15L0 27L7 15z" fill="${hue}"/>`
    + `<rect x="${-wide / 2}" y="-20" width="${wide}" height="38" rx="15" fill="${eot ? hue : "var(--card)"}" stroke="${hue}" stroke-width="2.5"/>`
    + `<text y="7" text-anchor="middle" font-size="${said.length > 1 ? 17 : 21}" font-weight="650" fill="${eot ? "var(--card)" : "var(--ink)"}">${said}</text></g>`;
}

/** The scene: `said` [2] words or null, `eot` [2], `moves` [2] 0 or 1 once they are made, `share` 0 … 1 of the way. */
function sceneOf({ said, eot, moves, share, headline, detail, names = ["train A", "train B"] }) {
  const hues = ["var(--first)", "var(--second)"];
  const met = moves && moves[0] === moves[1];
  const driven = moves ? share : 0, fronts = [0, 1].map((i) => {
    const target = met ? WIDE / 2 + (i ? 1 : -1) : WIDE / 2 + (i ? -1 : 1) * (CAR + GAP / 2);
    const start = i ? WIDE - 112 : 112;
    return start + (target - start) * driven;
  });
  const sleepers = [false, true].map((detour) => {
    let all = "";
    for (let x = 4; x < WIDE; x += 11) {
      if (detour && LINE - railAt(x, true) < 9) continue;
      const y = railAt(x, detour);
      all += `M${x} ${(y - 11).toFixed(1)}V${(y + 11).toFixed(1)}`;
    }
    return `<path d="${all}" stroke="var(--sleeper)" stroke-width="3.4"/>`;
  }).join("");
  const rails = [false, true].map((d) => [-6, 6].map((s) => `<path d="${railPath(d, s)}"/>`).join("")).join("");
  const burst = met && share === 1 ? Array.from({ length: 22 }, (_, i) => {
    const angle = i * Math.PI / 11, radius = i % 2 ? 15 : 30;
    return `${(WIDE / 2 + radius * Math.cos(angle)).toFixed(1)},${(railAt(WIDE / 2, moves[0] === 1) + radius * Math.sin(angle)).toFixed(1)}`;
  }).join(" ") : "";
  return `<svg viewBox="0 0 ${WIDE} 232" role="img" aria-label="${headline}. ${detail}">`
    + `<g fill="none" stroke="var(--ballast)" stroke-width="27"><path d="${railPath(false, 0)}"/><path d="${railPath(true, 0)}"/></g>${sleepers}`
    + `<g fill="none" stroke="var(--rail)" stroke-width="2">${rails}</g>`
    + `<g font-size="13" fill="var(--muted)" text-anchor="middle"><text x="${WIDE / 2}" y="${DETOUR + 33}">detour</text><text x="${WIDE / 2}" y="${LINE + 31}">main line</text></g>`
    + `<g font-size="14" font-weight="650" text-anchor="middle"><text x="66" y="${LINE + 33}" fill="${hues[0]}">${names[0]}</text><text x="${WIDE - 66}" y="${LINE + 33}" fill="${hues[1]}">${names[1]}</text></g>`
    + (moves ? [0, 1].sort((i) => (moves[i] ? -1 : 1)) : [0, 1]).map((i) => train(fronts[i], moves ? moves[i] === 1 : false, hues[i], i === 1, met && share === 1)).join("")
    + (burst ? `<polygon points="${burst}" fill="var(--bad)"/><circle cx="${WIDE / 2}" cy="${railAt(WIDE / 2, moves[0] === 1).toFixed(1)}" r="10" fill="#ffd257"/>` : "")
    + (moves ? "" : said.map((word, i) => bubble(i ? WIDE - 66 : 66, word, hues[i], eot[i])).join(""))
    + `<text x="${WIDE / 2}" y="36" text-anchor="middle" font-size="22" font-weight="650" fill="var(--ink)">${headline}</text>`
    + `<text x="${WIDE / 2}" y="58" text-anchor="middle" font-size="13.5" fill="var(--muted)">${detail}</text></svg>`;
}

/** Paint the way to the crossing, `paint(share)` with 0 … 1; at once where motion is unwanted. Returns what stops it. */
function drive(paint) {
  if (window.matchMedia("(prefers-reduced-motion: reduce)").matches) {
    paint(1);
    return () => 0;
  }
  const begun = performance.now();
  let timer = 0;
  const frame = (now) => {
    const t = Math.min(1, Math.max(0, now - begun) / 700);
    paint(t * t * (3 - 2 * t));
    if (t < 1) timer = requestAnimationFrame(frame);
  };
  paint(0);
  timer = requestAnimationFrame(frame);
  return () => cancelAnimationFrame(timer);
}
