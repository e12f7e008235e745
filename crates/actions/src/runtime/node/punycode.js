'use strict';
// Node's `punycode` (RFC 3492).
const BASE = 36; const T_MIN = 1; const T_MAX = 26; const SKEW = 38; const DAMP = 700; const BIAS = 72; const FIRST = 128;

const points = (text) => Array.from(text, (character) => character.codePointAt(0));
const digit = (value) => String.fromCharCode(value < 26 ? value + 97 : value + 22);

function adapt(delta, count, first) {
  let rest = Math.floor(first ? delta / DAMP : delta / 2);
  rest += Math.floor(rest / count);
  let k = 0;
  for (; rest > (BASE - T_MIN) * T_MAX / 2; k += BASE) rest = Math.floor(rest / (BASE - T_MIN));
  return k + Math.floor((BASE - T_MIN + 1) * rest / (rest + SKEW));
}
const threshold = (k, bias) => Math.min(T_MAX, Math.max(T_MIN, k - bias));

function encode(text) {
  const input = points(text);
  let out = String.fromCodePoint(...input.filter((point) => point < FIRST));
  const basic = out.length;
  if (basic > 0) out += '-';
  let n = FIRST; let delta = 0; let bias = BIAS;
  for (let handled = basic; handled < input.length;) {
    const next = Math.min(...input.filter((point) => point >= n));
    delta += (next - n) * (handled + 1);
    n = next;
    for (const point of input) {
      if (point < n) delta += 1;
      if (point !== n) continue;
      let q = delta;
      for (let k = BASE; ; k += BASE) {
        const t = threshold(k, bias);
        if (q < t) break;
        out += digit(t + (q - t) % (BASE - t));
        q = Math.floor((q - t) / (BASE - t));
      }
      out += digit(q);
      bias = adapt(delta, handled + 1, handled === basic);
      delta = 0;
      handled += 1;
    }
    delta += 1;
    n += 1;
  }
  return out;
}

function decode(text) {
  const at = text.lastIndexOf('-');
  const out = at > 0 ? points(text.slice(0, at)) : [];
  let n = FIRST; let place = 0; let bias = BIAS;
  for (let index = at > 0 ? at + 1 : 0; index < text.length;) {
    const before = place;
    let weight = 1;
    for (let k = BASE; ; k += BASE) {
      const code = text.charCodeAt(index);
      index += 1;
      const value = code >= 48 && code < 58 ? code - 22 : code >= 65 && code < 91 ? code - 65 : code >= 97 && code < 123 ? code - 97 : BASE;
      if (value >= BASE || Number.isNaN(code)) throw new RangeError('Invalid input');
      place += value * weight;
      const t = threshold(k, bias);
      if (value < t) break;
      weight *= BASE - t;
    }
    bias = adapt(place - before, out.length + 1, before === 0);
    n += Math.floor(place / (out.length + 1));
    place %= out.length + 1;
    out.splice(place, 0, n);
    place += 1;
  }
  return String.fromCodePoint(...out);
}

const labels = (domain, change) => {
  const at = domain.lastIndexOf('@');
  const head = at < 0 ? '' : domain.slice(0, at + 1);
  return head + domain.slice(at + 1).split(/[.\u3002\uFF0E\uFF61]/).map(change).join('.');
};

module.exports = {
  version: '2.1.0', encode, decode,
  toASCII: (domain) => labels(domain, (label) => (/[^\0-\x7F]/.test(label) ? `xn--${encode(label)}` : label)),
  toUnicode: (domain) => labels(domain, (label) => (label.startsWith('xn--') ? decode(label.slice(4).toLowerCase()) : label)),
  ucs2: { decode: points, encode: (list) => String.fromCodePoint(...list) },
};
