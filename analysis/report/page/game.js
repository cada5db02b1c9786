"use strict";
// The crossing in the page: the talk, the network, and the machine of its rule. All rules are data that Python read off
// envs.negotiation (what is legal in each phase, what succeeds); here stands only how a round is taken.

const OPEN = 0, TALK = 1, ACT = 2, SILENT = -1;

/** The numbers of a base64 string, as an array of `Kind` (little-endian, as every browser's machine is). */
const unpacked = (text, Kind) => new Kind(Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0)).buffer);

const newTalk = (rules) => ({ phase: rules.start, symbols: [], moves: null, cut: false, success: null });

/** The talk after both have acted, `actions` [2]: the round is written, or the moves are played. */
function afterActions(rules, talk, actions) {
  const eot = rules.nTokens, round = actions.map((a) => (a <= eot ? a : SILENT));
  if (round.every((s) => s === SILENT)) {
    const moves = actions.map((a) => a - eot - 1);
    return { ...talk, moves, success: rules.succeeds[moves[0]][moves[1]] === 1 };
  }
  const symbols = [...talk.symbols, round], agreed = round.every((s) => s === eot);
  const cut = !agreed && symbols.length === rules.maxRounds;
  return { ...talk, symbols, cut, phase: agreed || cut ? ACT : TALK };
}

/** The last `window` rounds as a seat sees them, newest last, own symbol first; silence where there were fewer. */
function windowOf(talk, seat, window) {
  const empty = Array.from({ length: Math.max(0, window - talk.symbols.length) }, () => [SILENT, SILENT]);
  return [...empty, ...talk.symbols.slice(-window)].map((round) => [round[seat], round[1 - seat]]);
}

/** The action that is drawn: each waits an exponential time, whose logarithm is in `race`, and the first is taken. */
const drawn = (odds, race) => odds.reduce((best, odd, a) => (odd - race[a] > odds[best] - race[best] ? a : best), 0);
const newRace = (actions) => Array.from({ length: actions }, () => Math.log(-Math.log(1 - Math.random()) || 1e-300));
const likeliest = (odds) => drawn(odds, new Array(odds.length).fill(0));

/** Probabilities [A] of log-odds; 0 where -Infinity. */
function shares(odds) {
  const most = Math.max(...odds), weights = odds.map((odd) => Math.exp(odd - most));
  const total = weights.reduce((sum, w) => sum + w, 0);
  return weights.map((w) => w / total);
}
const masked = (odds, legal) => odds.map((odd, a) => (legal[a] ? odd : -Infinity));

/** A recurrent actor (Cho et al. 2014), as emcomm.networks has it; `packed` is that of analysis.report.playable. */
class Network {
  constructor(packed) {
    const { inputs, hidden, actions } = packed, all = unpacked(packed.weights, Float32Array);
    let at = 0;
    const next = (size) => all.subarray(at, (at += size));
    Object.assign(this, packed);
    this.fromInput = next(inputs * 3 * hidden);
    this.fromMemory = next(3 * hidden * hidden);
    this.inputBias = next(3 * hidden);
    this.memoryBias = next(3 * hidden);
    this.actor = next(actions * hidden);
    this.actorBias = next(actions);
  }

  /** Which inputs are 1: the phase, then one symbol for each agent and round of the window; all others are 0. */
  seen(talk, seat) {
    const symbols = windowOf(talk, seat, this.window).flat();
    return [talk.phase, ...symbols.map((s, i) => this.features + i * this.kinds + (s === SILENT ? this.kinds - 1 : s))];
  }

  /** The memory [H] after `seen`. */
  remember(seen, memory) {
    const size = this.hidden, gates = 3 * size, { fromInput, fromMemory } = this;
    const input = Float64Array.from(this.inputBias), own = Float64Array.from(this.memoryBias);
    for (const one of seen) for (let g = 0; g < gates; g++) input[g] += fromInput[one * gates + g];
    for (let g = 0, w = 0; g < gates; g++) {
      let sum = own[g];
      for (let h = 0; h < size; h++, w++) sum += fromMemory[w] * memory[h];
      own[g] = sum;
    }
    const gate = (g) => 1 / (1 + Math.exp(-(input[g] + own[g])));
    const after = new Float32Array(size);
    for (let h = 0; h < size; h++) {
      const update = gate(size + h), fresh = Math.tanh(input[2 * size + h] + gate(h) * own[2 * size + h]);
      after[h] = (1 - update) * fresh + update * memory[h];
    }
    return after;
  }

  /** Log-odds [A] of the actions. */
  odds(memory) {
    const { actor, hidden } = this;
    return Array.from(this.actorBias, (bias, a) => memory.reduce((sum, value, h) => sum + actor[a * hidden + h] * value, bias));
  }
}

/** A seat that the network plays, or would play; `odds` [A] are of the legal actions now. */
class NetworkSeat {
  constructor(rules, network, seat) {
    Object.assign(this, { rules, network, seat, memory: new Float32Array(network.hidden) });
  }

  see(talk) {
    this.memory = this.network.remember(this.network.seen(talk, this.seat), this.memory);
    this.odds = masked(this.network.odds(this.memory), this.rules.legal[talk.phase]);
  }
}

/** An automaton that reads rounds, with a distribution over actions in each state and at each time. */
class Machine {
  constructor(packed) {
    Object.assign(this, packed);
    for (const name of ["transition", "row", "surprise"]) this[name] = unpacked(packed[name], Uint16Array);
  }

  after(state, own, other) {
    const kind = (symbol) => (symbol === SILENT ? this.kinds - 1 : symbol);
    return this.transition[(state * this.kinds + kind(own)) * this.kinds + kind(other)];
  }

  /** Log-odds [A] of the actions in a state, at a time. */
  odds(state, time) {
    const at = this.row[state * this.times + Math.min(time, this.times - 1)] * this.actions;
    return Array.from(this.surprise.subarray(at, at + this.actions), (surprise) => -surprise / this.logarithm);
  }
}

/** A seat that the machine plays, or that it keeps the score for. */
class MachineSeat {
  constructor(rules, machine, seat) {
    Object.assign(this, { rules, machine, seat, state: machine.initial });
  }

  see(talk) {
    const time = talk.symbols.length, round = talk.symbols[time - 1];
    if (round) this.state = this.machine.after(this.state, round[this.seat], round[1 - this.seat]);
    this.all = this.machine.odds(this.state, time);
    this.odds = masked(this.all, this.rules.legal[talk.phase]);
  }

  get label() { return this.machine.labels[this.state]; }

  /** The probability of the last move, given that a move is made. */
  get yields() { return shares(this.all.slice(this.rules.nTokens + 1)).pop(); }
}
