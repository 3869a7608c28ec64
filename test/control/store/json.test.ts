import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { JsonError, parseJson, rawMembers } from '../../../src/control/store/json.js';

test('says where a text stops being JSON', () => {
  const cases: [text: string, message: string][] = [
    ['', 'line 1, column 1: it ends too early'],
    ['hello', 'line 1, column 1: unexpected "h"'],
    ['{"a":1,}', 'line 1, column 8: unexpected "}"'],
    ['{"a":1', 'line 1, column 7: it ends too early'],
    ['{\n  "a": 1\n  "b": 2\n}', 'line 3, column 3: unexpected "\\""'],
    ['[1, 2', 'line 1, column 6: it ends too early'],
    ['{"a":[1,{"b":tru}]}', 'line 1, column 14: unexpected "t"'],
    ['{"a":1} xyz', 'line 1, column 9: unexpected "x"'],
    ['{"a" 1}', 'line 1, column 6: unexpected "1"'],
    ['“{"a":1}”', 'line 1, column 1: unexpected "“"'],
    ['{"a":1, \\}', 'line 1, column 9: unexpected "\\\\"'],
    ['{"a":"b\\x"}', 'line 1, column 8: unexpected "\\\\"'],
    ['{"a":"two\nlines"}', 'line 1, column 10: unexpected "\\n"'],
    ['{"a":01}', 'line 1, column 7: unexpected "1"'],
    ['{a:1}', 'line 1, column 2: unexpected "a"'],
  ];
  for (const [text, message] of cases) {
    assert.throws(() => parseJson(text), new JsonError(text, offsetOf(text, message)), text);
    assert.throws(() => parseJson(text), { message });
  }
});

test('parses what is JSON', () => {
  assert.deepEqual(parseJson(' {"a":[1.5e3,true,null,"\\u0041"]} '), {
    a: [1500, true, null, 'A'],
  });
});

test('takes an object apart without touching its values', () => {
  assert.deepEqual(rawMembers('[1]'), undefined);
  assert.deepEqual(rawMembers(' {} '), []);
  assert.deepEqual(
    rawMembers('{"a\\"b": 12345678901234567890 ,"c":{"d":[1,"},"]}, "c" : "\\\\"}'),
    [
      { name: 'a"b', text: '12345678901234567890' },
      { name: 'c', text: '{"d":[1,"},"]}' },
      { name: 'c', text: '"\\\\"' },
    ],
  );
  assert.throws(() => rawMembers('{"a":}'), JsonError);
  const spaces = fc.constantFrom('', ' ', '\n\t');
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), spaces, (object, space) => {
      const text = JSON.stringify(object, null, space);
      const members = rawMembers(text) ?? [];
      const names = Object.keys(JSON.parse(text) as object);
      assert.deepEqual(
        members.map(({ name, text }) => [name, JSON.parse(text)]),
        names.map((name) => [name, (JSON.parse(text) as Record<string, unknown>)[name]]),
      );
    }),
  );
});

function offsetOf(text: string, message: string): number {
  const [, line, column] = /line (\d+), column (\d+)/.exec(message) ?? [];
  const before = text.split('\n').slice(0, Number(line) - 1);
  return before.reduce((sum, part) => sum + part.length + 1, 0) + Number(column) - 1;
}
