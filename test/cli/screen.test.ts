import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fitScreen } from '../../src/cli/screen.js';

/** What stands in each row, colours included. */
function rowsOf(text: string, rows: number, columns: number): string[] {
  const picture = fitScreen(text, { rows, columns });
  assert.ok(picture.startsWith('\x1b[H') && picture.endsWith('\n\x1b[J'), JSON.stringify(picture));
  return picture
    .slice(3, -4)
    .split('\n')
    .map((row) => {
      assert.ok(row.startsWith('\x1b[K'), 'what stood there before is cleared');
      return row.slice(3);
    });
}

test('each line of a text has its row where the terminal has room', () => {
  assert.deepEqual(rowsOf('one\n\nthree\n', 24, 80), ['one', '', 'three']);
});

test('a line longer than the terminal is wide goes on in the next row', () => {
  assert.deepEqual(rowsOf('abcdefgh\nijkl\n', 24, 4), ['abcd', 'efgh', 'ijkl']);
  assert.deepEqual(rowsOf('abcde\n', 24, 4), ['abcd', 'e']);
});

test('wrapped rows count: never more than the terminal has, the last one tells of the rest', () => {
  assert.deepEqual(rowsOf('abcdefgh\nijkl', 4, 4), ['abcd', 'efgh', 'ijkl']);
  assert.deepEqual(rowsOf('abcdefgh\nijklm', 4, 4), ['abcd', 'efgh', '…']);
  assert.deepEqual(rowsOf('one\ntwo', 1, 80), ['…']);
});

test('colours take no room, and a character of two code units has one column', () => {
  assert.deepEqual(rowsOf('\x1b[32mabcd\x1b[0mef', 24, 4), ['\x1b[32mabcd\x1b[0m', 'ef']);
  assert.deepEqual(rowsOf('a–\u{1f30d}bc', 24, 4), ['a–\u{1f30d}b', 'c']);
});
