import assert from 'node:assert/strict';
import test from 'node:test';
import { readPattern } from '../../../src/control/host/go-pattern.js';

/** A pattern, what it matches in Go, and what it does not. */
const READ: readonly [string, readonly string[], readonly string[]][] = [
  ['ens', ['ens33', 'xens'], ['eth0']],
  ['^192\\.168\\.', ['192.168.56.11'], ['10.192.168.1', '192x168y1']],
  ['^e(th|ns)\\d+$', ['eth0', 'ens33'], ['eth', 'veth0', 'eth0x']],
  ['^eth.$', ['eth0'], ['eth10', 'eth\n']],
  ['', ['anything', ''], []],
  // Classes
  ['^[[:alpha:]]+$', ['bond'], ['bond0', ':']],
  ['^[[:^digit:]]+$', ['bond'], ['bond0']],
  ['^[^[:alnum:]]$', ['-'], ['a', '7']],
  ['^[]a]+$', [']a]'], ['b', '[]']],
  ['^[^]a]$', ['b', '['], [']', 'a']],
  ['^[a-]+$', ['a-a'], ['b']],
  ['^[-a]+$', ['a-a'], ['b']],
  ['^[a-c-e]+$', ['abc-e'], ['d']],
  ['^[[a]+$', ['[a'], ['b']],
  ['^[[:punct:]]$', ['-', '[', '~', '_'], ['a', ' ']],
  ['^[\\d.]+$', ['10.0.0.7'], ['eth0']],
  ['^[^\\s]+$', ['a\v'], ['a b', 'a\tb']],
  ['^[\\D]+$', ['eth'], ['eth0']],
  ['^[\\x41-\\x{43}\\-]+$', ['ABC-'], ['D', 'x']],
  ['^[&&a]+$', ['&a'], ['b']],
  ['^\\w+$', ['eth_0'], ['eth-0', 'é']],
  // What is an operator in one of them alone
  ['^a{$', ['a{'], ['a']],
  ['^a{,2}$', ['a{,2}'], ['aa']],
  ['^a{01}$', ['a{01}'], ['a']],
  ['^a{2}$', ['aa'], ['a', 'a{2}']],
  ['^a{2,}$', ['aaa'], ['a']],
  ['^a{1,2}?$', ['aa'], ['aaa']],
  ['^}]/$', ['}]/'], ['}']],
  ['^(a|)b??$', ['', 'ab'], ['c']],
  // Escapes
  ['\\Aeth0\\z', ['eth0'], ['eth01', 'veth0']],
  ['\\beth\\b', ['a.eth.b'], ['veth']],
  ['^\\-\\_\\.\\/\\"$', ['-_./"'], ['-_x/"']],
  ['^\\101\\60\\0$', ['A0\0'], ['101']],
  ['^\\a\\v$', ['\x07\v'], ['av']],
  ['^\\Qeth.[0\\E\\d$', ['eth.[07'], ['ethx[07']],
  ['\\Qa.b', ['a.b'], ['axb']],
  // Groups
  ['^(?P<kind>eth|ens)(?<n>[0-9])(?:x)?$', ['eth0', 'ens1x'], ['kind']],
  ['(?i)^ETH', ['eth0', 'Eth0'], ['ens']],
  ['(?i)^[[:upper:]]+$', ['eth'], ['e1']],
  ['(?s)^a.b$', ['a\nb'], ['ab']],
  ['(?imU)^eth.*$', ['ETH7'], ['x']],
];

test('a pattern means what it means in Go', () => {
  for (const [text, matches, others] of READ) {
    const { regex, text: kept } = readPattern(text);
    assert.equal(kept, text);
    for (const one of matches) assert.ok(regex.test(one), `${text} matches ${JSON.stringify(one)}`);
    for (const one of others) assert.ok(!regex.test(one), `${text}, not ${JSON.stringify(one)}`);
  }
});

const REFUSED: readonly [string, RegExp][] = [
  ['(', /^it is not a regular expression$/],
  ['a**', /^it is not a regular expression$/],
  ['*a', /^it is not a regular expression$/],
  ['[b-a]', /^it is not a regular expression$/],
  ['a)', /^it is not a regular expression$/],
  ['[a', /^\[ is not closed$/],
  ['[]', /^\[ is not closed$/],
  ['eth(?=0)', /^\(\?= is not part of Go's patterns$/],
  ['(?<!v)eth', /^\(\?<! is not part of Go's patterns$/],
  ['(?#note)', /^\(\? is not part of Go's patterns$/],
  ['a(?i)b', /^\(\?i\) flags are read at the beginning/],
  ['(?i:a)b', /^\(\?i: flags are read at the beginning/],
  ['(?-s)a', /^\(\?-s\) flags are read at the beginning/],
  ['(e)\\1', /^\\1 is not part of Go's patterns$/],
  ['\\Z', /^\\Z is not part/],
  ['\\C', /^\\C is not part/],
  ['[a-\\d]', /^\\d is not part/],
  ['\\', /^\\ is not part/],
  ['\\xg', /^\\x is not part/],
  ['\\x{110000}', /^\\x\{110000\} is no character$/],
  ['\\pL', /^\\pL names Unicode characters/],
  ['[\\p{Greek}]', /^\\p\{Greek\} names Unicode characters/],
  ['[[:letters:]]', /^\[:letters:\] is not one of Go's classes$/],
  ['[[:d:]]', /^\[:d:\] is not one of Go's classes$/],
  ['[[:constructor:]]', /^\[:constructor:\] is not one of Go's classes$/],
  ['a{1001}', /^\{1001\} repeats more than 1000 times/],
];

test('what has no counterpart, or is no pattern in Go either, is refused by name', () => {
  for (const [text, why] of REFUSED) {
    assert.throws(
      () => readPattern(text),
      (error: Error) => why.test(error.message),
      text,
    );
  }
});
