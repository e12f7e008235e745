// The stream of events, however it is cut.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventParser } from '../src/sse.js';
import { LineSplitter } from '../src/lines.js';

const bytes = (text) => new TextEncoder().encode(text);

function parse(text, size) {
  const parser = new EventParser();
  const all = bytes(text);
  const events = [];
  for (let at = 0; at < all.length; at += size) events.push(...parser.push(all.subarray(at, at + size)));
  return events;
}

const text = ': a comment\nevent: hello\ndata: {"ä":"€😀"}\n\nevent:ending\ndata:one\ndata: two\nid: 7\nretry: 5\n\n:\n\ndata: alone\n\nevent: nothing\n\nno colon\ndata\n\n';
const wanted = [
  { event: 'hello', data: '{"ä":"€😀"}' },
  { event: 'ending', data: 'one\ntwo' },
  { event: 'message', data: 'alone' },
  { event: 'message', data: '' },
];

test('events are the same in pieces of every size and with every line break', () => {
  for (const lineBreak of ['\n', '\r\n', '\r']) {
    const all = text.replaceAll('\n', lineBreak);
    for (let size = 1; size <= 40; size += 1) assert.deepEqual(parse(all, size), wanted, `${JSON.stringify(lineBreak)} in pieces of ${size}`);
    assert.deepEqual(parse(all, 10_000), wanted);
  }
});

test('an event that is not complete is no event', () => {
  assert.deepEqual(parse('event: end\ndata: {}\n', 100), []);
});

test('a byte order mark at the start is none of its name', () => {
  assert.deepEqual(parse('\uFEFFdata: x\n\n', 100), [{ event: 'message', data: 'x' }]);
});

test('a line that never ends is refused before it fills the memory', () => {
  const parser = new EventParser();
  const chunk = bytes('x'.repeat(10_000));
  assert.throws(() => {
    for (let at = 0; at < 100; at += 1) parser.push(chunk);
  }, { code: 'protocol' });
});

test('so is an event of too many lines', () => {
  const parser = new EventParser();
  assert.throws(() => {
    for (let at = 0; at < 10_000; at += 1) parser.push(bytes('data: 0123456789\n'));
  }, { code: 'protocol' });
});

test('what follows the last line break is the last line', () => {
  const lines = new LineSplitter(10);
  assert.deepEqual(lines.push(bytes('one\ntw')), ['one']);
  assert.equal(lines.end(), 'tw');
  assert.throws(() => lines.push(bytes(`${'x'.repeat(11)}\n`)), { code: 'protocol' });
});
