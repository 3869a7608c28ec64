/** Text from outside: what it can do to who reads it, and what it is still good for. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { LONGEST, plain, plainJson, plainLines } from '../../../src/operate/status/plain.js';

/** Any text, what is dangerous among it often: halves of pairs, too. */
const anything = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc
    .array(
      fc.oneof(
        fc.integer({ min: 0, max: 0x9f }).map((code) => String.fromCharCode(code)),
        fc.constantFrom(...['\u2028', '\u2029', '\u202e', '\u2066', '\u200b', '\u200d', '\ufeff']),
        fc.constantFrom(
          ...['\u00ad', '\u061c', '\ud800', '\udfff', '\u{e0041}', '\u{1d173}', '😀'],
        ),
        fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)),
      ),
    )
    .map((parts) => parts.join('')),
);

const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;

describe('plain', () => {
  test('nothing that moves, hides, turns round or begins a line is left of any text', () => {
    fc.assert(fc.property(anything, (text) => !UNSEEN.test(plain(text))));
    fc.assert(fc.property(anything, (text) => !UNSEEN.test(plain(text, 7))));
  });

  test('what is plain already stays as it is, and making it plain twice changes nothing', () => {
    fc.assert(
      fc.property(anything, (text) => {
        const once = plain(text);
        assert.equal(plain(once, once.length), once);
        if (!UNSEEN.test(text)) assert.equal(once, text);
      }),
    );
  });

  test('each character that is not shown is told by its number', () => {
    assert.equal(
      plain('a\x1b[2J\r\nb\x7f\x9b\u2028'),
      'a\\u001b[2J\\u000d\\u000ab\\u007f\\u009b\\u2028',
    );
    assert.equal(plain('abc\u202ecba'), 'abc\\u202ecba');
    assert.equal(plain('\ud800x\u{e0041}'), '\\ud800x\\udb40\\udc41');
    assert.equal(plain('übung 日本 😀'), 'übung 日本 😀');
  });

  test('a long text is cut, with how much is missing, and never through a character', () => {
    assert.equal(plain('x'.repeat(LONGEST)), 'x'.repeat(LONGEST));
    assert.equal(
      plain('x'.repeat(LONGEST + 1_234)),
      `${'x'.repeat(LONGEST)}… (1,234 characters more)`,
    );
    assert.equal(plain('ab😀cd', 3), 'ab… (4 characters more)');
    const megabyte = plain('\u202e'.repeat(1 << 20));
    assert.ok(megabyte.length < 6 * LONGEST + 100);
  });

  test('of several lines each is plain, and they stay lines', () => {
    fc.assert(
      fc.property(anything, (text) => {
        const lines = plainLines(text).split('\n');
        assert.equal(lines.length, text.split('\n').length);
        for (const line of lines) assert.ok(!UNSEEN.test(line));
      }),
    );
  });
});

test('JSON: nothing unseen in it, and it is read as what it was', () => {
  fc.assert(
    fc.property(fc.jsonValue(), anything, anything, (value, key, text) => {
      const whole = { value, text, [`key ${key}`]: [text] };
      const json = plainJson(whole);
      assert.ok(!UNSEEN.test(json));
      assert.deepEqual(JSON.parse(json), JSON.parse(JSON.stringify(whole)));
    }),
  );
});
