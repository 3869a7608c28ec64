/** What is said where a lab's namespaces are refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cureFor } from '../../src/lab/enter.js';

test('a chroot is told as one, and root is not told to be root', () => {
  const chroot = 'unshare: cannot change root filesystem propagation: Invalid argument\n';
  assert.match(cureFor(chroot), /no mount point, as in a chroot; run outside of it/);
  const cure = cureFor('unshare: unshare failed: Operation not permitted\n');
  if (process.getuid?.() === 0) assert.match(cure, /^this process is root and may not/);
  else assert.equal(cure, 'run as root');
});
