// Positions.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatPosition, parsePosition, reaches } from '../src/position.js';

test('a position is a number for each lane', () => {
  assert.deepEqual(parsePosition('17.0.4'), [17, 0, 4]);
  assert.equal(formatPosition(parsePosition('0')), '0');
  for (const wrong of ['', '.', '1.', '-1', '1.x', '1e3', '9999999999999999', 7, null, undefined, '1.'.repeat(2000) + '1']) {
    assert.throws(() => parsePosition(wrong), { code: 'protocol' }, String(wrong));
  }
});

test('one reaches another when it has come as far in every lane', () => {
  for (const [own, other, does] of [
    ['5', '5', true], ['5', '6', false], ['3.4', '3.4', true], ['9.4', '3.5', false], ['9.9', '9', false], ['9', '9.0', false],
  ]) {
    assert.equal(reaches(parsePosition(own), parsePosition(other)), does, `${own} and ${other}`);
  }
});
