'use strict';

const path = require('path');
const camelCase = require('camelcase');
const escape = require('escape-html');
const pluralize = require('pluralize');
const slugify = require('slugify');

function file(name) {
  return slugify(name, { lower: true }) + '.html';
}

function html(parcel) {
  var items = pluralize('item', parcel.items, true);
  let size = parcel.size == null ? 'any' : parcel.size
  return `<p class="${camelCase('parcel-label')}">${escape(parcel.to)}: ${items}</p>`;
}

module.exports = { file: file, html: html };
