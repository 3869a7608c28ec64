/** A peer behind a router whose link takes less than ours: see paths.ts. */
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { enterLab } from '../../src/lab/enter.js';
import { Lab } from '../../src/lab/lab.js';
import { until } from '../control/fakes.js';
import { Paths, pathsLack } from './paths.js';

const lacks = await pathsLack();
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

describe('a peer behind a router', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let paths: Paths;

  before(async () => {
    paths = await Paths.open();
  });
  after(() => paths?.lab.close());

  test('links of 1500 on the whole way: measured, all passes', async () => {
    await until(async () => ((await paths.pathMtu())?.measuredSecondsAgo ?? 99) < 5);
    await paths.becomes({ mtu: 1500, from: 'device', checking: false, problem: '' });
    await paths.allPasses(1500);
  });

  test('the path shrinks to 1400 while weft runs: measured, all passes', async () => {
    await Paths.setLink(1400);
    await paths.allPasses(1400);
    paths.remeasure();
    await paths.becomes({ mtu: 1400, from: 'measured', checking: false });
    await paths.allPasses(1400);
  });

  test('it grows again: noticed within one and a half minutes, without being told', async () => {
    await Paths.setLink(1500);
    await paths.becomes({ mtu: 1500, from: 'device' }, 90_000);
    await paths.allPasses(1500);
  });

  test('the router does not say "fragmentation needed": found by trying, to the byte', async () => {
    await Paths.setLink(1407);
    await Paths.filter('destination-unreachable');
    paths.remeasure();
    await paths.becomes({ mtu: 1407, from: 'measured', checking: false });
    await paths.allPasses(1407);
    await Paths.noFilter();
  });
});
