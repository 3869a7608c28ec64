import assert from 'node:assert/strict';
import test from 'node:test';
import { checkFamilies } from '../../../src/control/host/families.js';

const family = (name: string, code: string) => ({ name, use: `use of ${name}`, make: () => code });

test('this process may make all of them', async () => {
  assert.equal(await checkFamilies(), null);
});

test('what a filter refuses is named, with its use and what allows it', async () => {
  const told = await checkFamilies([
    family('AF_ONE', 'EAFNOSUPPORT'),
    family('AF_TWO', ''),
    family('AF_THREE', 'EPERM'),
  ]);
  assert.match(
    told!,
    /^no socket may be made of AF_ONE \(EAFNOSUPPORT\), which weft needs for use of AF_ONE, nor of AF_THREE \(EPERM\), which weft needs for use of AF_THREE; allow it: .*RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET AF_INET6 .*seccomp/,
  );
});

test('what says nothing of the family is none: nobody there, no descriptor, no address', async () => {
  const other = ['ENOENT', 'ECONNREFUSED', 'EMFILE', 'ENFILE', 'EADDRNOTAVAIL', 'ENOMEM'];
  assert.equal(await checkFamilies(other.map((code) => family(code, code))), null);
});
