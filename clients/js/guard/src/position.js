// Positions in the feed: how far each lane has been read.

import { protocolError } from './errors.js';

const FORM = /^\d{1,16}(?:\.\d{1,16}){0,1023}$/;

/** Reads `17.0.4` into a number per lane. */
export function parsePosition(text) {
  const lanes = typeof text === 'string' && FORM.test(text) ? text.split('.').map(Number) : [];
  if (lanes.length === 0 || !lanes.every(Number.isSafeInteger)) throw protocolError('that is not a position');
  return lanes;
}

/** Writes a position as it is sent. */
export const formatPosition = (lanes) => lanes.join('.');

/** Whether `own` is at least `other` in every lane. Positions of different feeds never reach each other. */
export const reaches = (own, other) =>
  own.length === other.length && other.every((number, lane) => own[lane] >= number);
