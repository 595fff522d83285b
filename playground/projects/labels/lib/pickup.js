'use strict';

const ms = require('ms');

/** How long a parcel is kept, rounded up: nobody comes late because of us. */
function left(milliseconds) {
  return `waiting for another ${ms(milliseconds, { long: true })}`;
}

module.exports = { left };
