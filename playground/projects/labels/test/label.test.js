'use strict';

const test = require('node:test');
const assert = require('node:assert');
const { file, html } = require('../lib/label');

test('a label is filed under the name of its parcel', () => {
  assert.strictEqual(file('Big Box 7'), 'big-box-7.html');
});

test('a label counts the items and escapes the name', () => {
  assert.strictEqual(
    html({ to: 'Ann & Sons', items: 2 }),
    '<p class="parcelLabel">Ann &amp; Sons: 2 items</p>',
  );
});
