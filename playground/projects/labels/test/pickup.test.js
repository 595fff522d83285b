'use strict';

const test = require('node:test');
const assert = require('node:assert');
const { left } = require('../lib/pickup');

const MINUTE = 60 * 1000;

test('time that is left is rounded up', () => {
  assert.strictEqual(left(132 * MINUTE), 'waiting for another 3 hours');
});

test('an hour is an hour', () => {
  assert.strictEqual(left(60 * MINUTE), 'waiting for another 1 hour');
});
