// Positions.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatPosition, parsePosition, reaches } from '../src/position.js';

test('a position is a number for each lane, and the number of the feed', () => {
  assert.deepEqual(parsePosition('17.0.4.7'), [17, 0, 4, 7]);
  assert.equal(formatPosition(parsePosition('0.7')), '0.7');
  for (const wrong of ['', '.', '1', '1.', '-1', '1.x', '1e3', '9999999999999999.7', 7, null, undefined, '1.'.repeat(2000) + '1']) {
    assert.throws(() => parsePosition(wrong), { code: 'protocol' }, String(wrong));
  }
});

test('one reaches another when it has come as far in every lane', () => {
  for (const [own, other, does] of [
    ['5.7', '5.7', true], ['5.7', '6.7', false], ['3.4.7', '3.4.7', true], ['9.4.7', '3.5.7', false], ['9.9.7', '9.7', false],
    ['9.7', '9.0.7', false], ['9.8', '5.7', false], ['9.6', '5.7', false],
  ]) {
    assert.equal(reaches(parsePosition(own), parsePosition(other)), does, `${own} and ${other}`);
  }
});
