'use strict';
// MD5 (RFC 1321), for identifiers and old checksums: the cryptographic library has it no more.
const shifts = [7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21];
const sines = Array.from({ length: 64 }, (_, at) => Math.floor(Math.abs(Math.sin(at + 1)) * 2 ** 32) | 0);

function md5(bytes) {
  const length = (bytes.length + 8 >> 6) + 1 << 6;
  const padded = new Uint8Array(length);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(length - 8, bytes.length << 3, true);
  view.setUint32(length - 4, bytes.length / 0x20000000, true);
  const state = [0x67452301, 0xEFCDAB89 | 0, 0x98BADCFE | 0, 0x10325476];
  for (let block = 0; block < length; block += 64) {
    let [a, b, c, d] = state;
    for (let at = 0; at < 64; at += 1) {
      const round = at >> 4;
      let mixed;
      let word;
      if (round === 0) { mixed = b & c | ~b & d; word = at; }
      else if (round === 1) { mixed = d & b | ~d & c; word = 5 * at + 1; }
      else if (round === 2) { mixed = b ^ c ^ d; word = 3 * at + 5; }
      else { mixed = c ^ (b | ~d); word = 7 * at; }
      const sum = a + mixed + sines[at] + view.getInt32(block + (word & 15) * 4, true) | 0;
      const shift = shifts[round * 4 + (at & 3)];
      [a, d, c, b] = [d, c, b, b + (sum << shift | sum >>> 32 - shift) | 0];
    }
    state[0] = state[0] + a | 0;
    state[1] = state[1] + b | 0;
    state[2] = state[2] + c | 0;
    state[3] = state[3] + d | 0;
  }
  return new Uint8Array(new Int32Array(state).buffer);
}

module.exports = { md5 };
