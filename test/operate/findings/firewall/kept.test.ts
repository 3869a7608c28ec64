import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Kept } from '../../../../src/operate/findings/firewall/kept.js';

test('a table of very many chains is read anew the less often the more they are', async () => {
  const kept = new Kept<number>();
  let reads = 0;
  const looks = async (table: string, chains: number, times: number): Promise<number> => {
    reads = 0;
    for (let i = 0; i < times; i += 1) {
      await kept.take(table, chains, async () => {
        reads += 1;
        return reads;
      });
    }
    return reads;
  };
  assert.equal(await looks('ip filter', 1_999, 50), 50);
  assert.equal(await looks('ip big', 2_000, 101), 1);
  assert.equal(await looks('ip big', 2_000, 1), 1);
  assert.equal(await looks('ip kube-proxy', 30_000, 1_501), 1);
  assert.equal(await looks('ip kube-proxy', 30_000, 1_501), 1);
});
