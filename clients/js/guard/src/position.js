// Positions in the feed: how far each lane has been read, and last the number of the feed itself.

import { protocolError } from './errors.js';

const FORM = /^\d{1,16}(?:\.\d{1,16}){1,1024}$/;

/** Reads `17.0.4.2716057` into a number per lane, and the feed's. */
export function parsePosition(text) {
  const numbers = typeof text === 'string' && FORM.test(text) ? text.split('.').map(Number) : [];
  if (numbers.length === 0 || !numbers.every(Number.isSafeInteger)) throw protocolError('that is not a position');
  return numbers;
}

/** Writes a position as it is sent. */
export const formatPosition = (position) => position.join('.');

/** How many lanes the feed of a position has. */
export const lanesOf = (position) => position.length - 1;

/** Whether two positions are of one feed. */
export const isOfOneFeed = (own, other) => own.length === other.length && own.at(-1) === other.at(-1);

/** Whether `own` is at least `other` in every lane. Positions of different feeds never reach each other. */
export const reaches = (own, other) => isOfOneFeed(own, other) && other.every((number, lane) => own[lane] >= number);
