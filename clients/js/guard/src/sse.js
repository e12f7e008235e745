// Server-sent events (HTML Living Standard §9.2), as far as the feed uses them.

import { protocolError } from './errors.js';
import { LineSplitter } from './lines.js';

const LINE_MAX = 65_536;
const DATA_MAX = 65_536;

/** Collects events from chunks. Comments, `id` and `retry` are read and mean nothing here. */
export class EventParser {
  #lines = new LineSplitter(LINE_MAX);
  #event = '';
  #data = [];
  #dataLength = 0;

  /** The events that `chunk` completes: `{event, data}`. */
  push(chunk) {
    const events = [];
    for (const line of this.#lines.push(chunk)) {
      if (line === '') this.#dispatch(events);
      else this.#field(line);
    }
    return events;
  }

  #field(line) {
    const colon = line.indexOf(':');
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (name === 'event') this.#event = value;
    if (name === 'data') {
      this.#dataLength += value.length + 1;
      if (this.#dataLength > DATA_MAX) throw protocolError(`an event is longer than ${DATA_MAX} characters`);
      this.#data.push(value);
    }
  }

  #dispatch(events) {
    if (this.#data.length > 0) events.push({ event: this.#event || 'message', data: this.#data.join('\n') });
    this.#event = '';
    this.#data = [];
    this.#dataLength = 0;
  }
}
