'use strict';

const NODE = { module: 'writable', require: 'readonly' };

module.exports = [
  {
    languageOptions: { sourceType: 'commonjs', globals: NODE },
    rules: {
      eqeqeq: 'error',
      'no-undef': 'error',
      'no-unused-vars': 'error',
      'no-var': 'error',
      'object-shorthand': 'error',
      'prefer-const': 'error',
      'prefer-template': 'error',
    },
  },
];
