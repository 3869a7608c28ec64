import assert from 'node:assert/strict';
import { test } from 'node:test';
import { askIp, askingOnce } from '../../../src/control/host/ask-ip.js';
import { systemRunner } from '../../../src/control/host/runner.js';
import { FakeRunner } from './fakes.js';

const COMMAND = 'ip -j -force -batch -';
const LINES = ['addr show dev a', 'route get 1.2.3.4', 'rule show'];

test('each line has its own answer, be it that one between was refused', async () => {
  const stderr = 'RTNETLINK answers: Permission denied\nCommand failed -:2\n';
  const runner = new FakeRunner({ [COMMAND]: { code: 1, stdout: '[{"a":1}]\n[]\n', stderr } });
  assert.deepEqual([...(await askIp(runner, LINES))].sort(), [
    ['addr show dev a', [{ a: 1 }]],
    ['route get 1.2.3.4', 'RTNETLINK answers: Permission denied'],
    ['rule show', []],
  ]);
  assert.equal((await askIp(new FakeRunner(), [])).size, 0, 'nothing is started for no line');
});

test('one that ended before it answered all is told with its words', async () => {
  const broken = new FakeRunner({
    [COMMAND]: { code: 1, stdout: '[]\n', stderr: 'out of memory' },
  });
  await assert.rejects(
    askIp(broken, LINES),
    /^HostError: ip route get 1\.2\.3\.4: no answer \(out of/,
  );
  const killed = new FakeRunner({ [COMMAND]: { code: null, signal: 'SIGKILL' } });
  await assert.rejects(askIp(killed, LINES), /ip addr show dev a: no answer \(ended by SIGKILL\)/);
});

test('for looks that belong together each line is asked once, refused or not', async () => {
  const asked: string[] = [];
  const runner = {
    run: async (_: readonly string[], { input = '' } = {}) => {
      const lines = input.trimEnd().split('\n');
      asked.push(...lines);
      const failed = lines.indexOf('rule show');
      const stderr = failed < 0 ? '' : `No.\nCommand failed -:${failed + 1}\n`;
      const stdout = lines.flatMap((line) => (line === 'rule show' ? [] : `["${line}"]\n`));
      return { code: 0, signal: null, stdout: stdout.join(''), stderr };
    },
    start: () => assert.fail('nothing is to be started'),
  };
  const ask = askingOnce(runner);
  assert.deepEqual(
    [...(await ask(['a', 'rule show']))],
    [
      ['a', ['a']],
      ['rule show', 'No.'],
    ],
  );
  assert.deepEqual([...(await ask(['rule show', 'b', 'a'])).values()], ['No.', ['b'], ['a']]);
  assert.deepEqual(asked, ['a', 'rule show', 'b']);
  await askingOnce(runner)(['a']);
  assert.equal(asked.length, 4, 'the next round asks anew');
});

test('the real ip answers so', async () => {
  const answers = await askIp(systemRunner, ['addr show dev lo', 'addr show dev no-such-device']);
  const [row] = answers.get('addr show dev lo') as readonly { ifname: string }[];
  assert.equal(row!.ifname, 'lo');
  assert.match(String(answers.get('addr show dev no-such-device')), /does not exist/);
});
