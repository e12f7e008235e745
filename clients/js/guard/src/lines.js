// Lines out of a stream of bytes that is cut anywhere.

import { protocolError } from './errors.js';

/**
 * Cuts at LF, CR LF or CR, whatever the chunks look like, and refuses a line longer than `lengthMax`
 * characters before it has been collected.
 */
export class LineSplitter {
  #decoder = new TextDecoder();
  #rest = '';
  /** Whether the last chunk ended in CR: an LF at the start of the next belongs to it. */
  #afterReturn = false;
  #lengthMax;

  constructor(lengthMax) {
    this.#lengthMax = lengthMax;
  }

  /** The lines that `chunk` completes. */
  push(chunk) {
    let text = this.#decoder.decode(chunk, { stream: true });
    if (text === '') return [];
    if (this.#afterReturn && text.startsWith('\n')) text = text.slice(1);
    this.#afterReturn = text === '' ? false : text.endsWith('\r');
    const lines = text.split(/\r\n|\n|\r/);
    lines[0] = this.#rest + lines[0];
    this.#rest = lines.pop();
    if (this.#rest.length > this.#lengthMax || lines.some((line) => line.length > this.#lengthMax)) {
      throw protocolError(`a line is longer than ${this.#lengthMax} characters`);
    }
    return lines;
  }

  /** What came after the last line break. */
  end() {
    return this.#rest + this.#decoder.decode();
  }
}
