/** The words of a cure, as a shell and the programs read them. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { nftWords, type Wanted } from '../../../../src/operate/findings/firewall/wanted.js';

const NAMES = [
  ...['eth0', 'eth0.100', 'br-1a2b3c', 'enp3s0f0np0', 'wlan', 'flannel.1', 'docker0'],
  ...['10g', '0net', 'lan+', 'en@x', 'mark', 'meta', 'accept', 'drop', 'tcp', 'any', '1'],
];
const NOTHING: Wanted = {
  ...{ in: '', out: '', source: '', destination: '', port: null, isAnswer: false },
};
// -c: nothing is set; for nft even that is for root.
const isAble = spawnSync('nft', ['-c', 'list', 'tables']).status === 0 && process.getuid?.() === 0;

test('whatever a device is called, nft takes the cure as it was typed', {
  skip: isAble ? false : 'nft is missing, or this is not root',
}, () => {
  for (const name of NAMES) {
    const words = nftWords({ ...NOTHING, in: name, port: 8472 });
    const rule = `add rule inet weft_try c ${words} accept`;
    const table = 'add table inet weft_try; add chain inet weft_try c';
    const typed = `printf '%s\\n' "${table}" "$(echo ${rule})" | nft -c -f -`;
    const { status, stderr } = spawnSync('sh', ['-c', typed], { encoding: 'utf8' });
    assert.equal(status, 0, `${words}\n${stderr}`);
  }
});
