"use strict";
// What a reader types -> a regular expression over a packed dialogue: N characters for each round.

/** RegExp for a pattern such as "4 2 · 5 5"; throws Error with a message for the reader. */
function compilePattern(pattern, agents, eot, alphabet) {
  const escape = (sign) => sign.replace(/[-\\^$*+?.()|[\]{}]/g, "\\$&");
  const letter = (word) => {
    if (/^e(ot)?$/i.test(word)) return escape(alphabet[eot + 1]);
    if (/^[-–]$/.test(word)) return escape(alphabet[0]);
    const value = Number(word);
    if (!/^\d+$/.test(word) || value > eot) throw new Error(`${word} is no symbol: 0 to ${eot - 1}, EOT, – or .`);
    return escape(alphabet[value + 1]);
  };
  const symbol = (word) => {
    if (word === "." || word === "*") return ".";
    if (!word.startsWith("[")) return letter(word);
    const inside = word.slice(1, -1).trim().split(/[\s|]+/).filter(Boolean);
    if (!inside.length) throw new Error("an empty [ ]");
    return `[${inside.map(letter).join("")}]`;
  };
  const round = (words) => {
    if (words.length === agents) return words.map(symbol).join("");
    if (words.length !== 1) throw new Error(`a round has ${agents} symbols: ${words.join(" ")}`);
    const any = "."; // one symbol alone: said by any agent
    const ways = Array.from({ length: agents }, (_, who) =>
      Array.from({ length: agents }, (_, i) => (i === who ? symbol(words[0]) : any)).join(""));
    return `(?:${ways.join("|")})`;
  };
  let source = pattern.trim().replace(/\.\.\./g, "…");
  const begins = source.startsWith("^"), ends = source.endsWith("$");
  source = source.slice(begins ? 1 : 0, ends ? -1 : undefined);
  const whole = `(?:.{${agents}})`;
  const body = source.split(/[·,;/]|(?=…)|(?<=…)/).map((part) => part.trim()).filter(Boolean).map((part) => {
    if (part === "…") return `${whole}*?`;
    const words = part.match(/\[[^\]]*\]|\S+/g);
    return round(words);
  }).join("");
  return new RegExp(`^${begins ? "" : `${whole}*?`}${body}${ends ? "$" : ""}`);
}
