import js from '@eslint/js';
import globals from 'globals';

const MARKUP = ['innerHTML', 'outerHTML', 'insertAdjacentHTML', 'srcdoc'];

export default [
  js.configs.recommended,
  {
    files: ['app/**/*.js', 'tests/web/**/*.js'],
    languageOptions: { ecmaVersion: 2023, sourceType: 'module', globals: { ...globals.browser } },
    rules: {
      'no-shadow': 'error',
      'no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      'prefer-const': 'error',
      'no-var': 'error',
      eqeqeq: 'error',
      curly: ['error', 'multi-line'],
      'max-len': ['error', { code: 140, ignoreStrings: true, ignoreTemplateLiterals: true, ignoreRegExpLiterals: true }],
      // Text of a trajectory never becomes markup or code.
      'no-restricted-properties': ['error', ...MARKUP.map((property) => ({ property }))],
      'no-eval': 'error',
      'no-implied-eval': 'error',
      'no-new-func': 'error',
    },
  },
  { files: ['tests/web/**/*.js'], languageOptions: { globals: { ...globals.node } } },
];
