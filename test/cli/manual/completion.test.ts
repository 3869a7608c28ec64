/** zsh and fish themselves complete weft's command line, from the scripts as they are installed. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { flagsOf } from '../../../src/cli/manual/command.js';
import { COMMANDS, findCommand } from '../../../src/cli/manual/commands.js';
import { completionFor } from '../../../src/cli/manual/completion.js';
import { findProgram } from '../../../src/lab/enter.js';

const ALL = COMMANDS.flat();
/** Sources are not compiled to where a program of zsh is. */
const OFFERED = fileURLToPath(
  new URL('../../../../test/cli/manual/tools/offered.zsh', import.meta.url),
);
const FISH = 'source $argv[1]; complete -C $argv[2]';

const SHELLS = {
  zsh: { file: '_weft', ask: (file: string) => ['-f', OFFERED, path.dirname(file)] },
  fish: { file: 'weft.fish', ask: (file: string) => ['--no-config', '-c', FISH, file] },
} as const;

for (const shell of ['zsh', 'fish'] as const) {
  const skip = findProgram(shell) === undefined && `needs ${shell}, of the package of that name`;
  describe(shell, { skip, timeout: 120_000 }, () => {
    let folder: string;
    before(() => {
      folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-completion-'));
      fs.writeFileSync(path.join(folder, SHELLS[shell].file), completionFor(shell, ALL));
    });
    after(() => fs.rmSync(folder, { recursive: true, force: true }));

    /** What it offers for a line whose last word is being typed. */
    const offered = (line: string): string[] => {
      const argv = [...SHELLS[shell].ask(path.join(folder, SHELLS[shell].file)), line];
      const done = spawnSync(shell, argv, {
        env: { PATH: process.env.PATH, HOME: folder, XDG_CONFIG_HOME: folder, TERM: 'dumb' },
        encoding: 'utf8',
        timeout: 60_000,
      });
      assert.deepEqual([done.status, done.stderr], [0, ''], line);
      // fish says what each is behind a tab.
      const words = done.stdout.split('\n').map((one) => one.split('\t')[0]!);
      return words.filter((word) => word !== '').sort();
    };
    /** Of that, what begins as the word does: fish 4 offers what is like it, too. */
    const begun = (line: string) =>
      offered(line).filter((word) => word.startsWith(line.split(' ').at(-1)!));
    const flags = (name: string) => flagsOf(findCommand(name)!).map((flag) => `-${flag.name}`);

    test('commands, all of those that the help lists', () => {
      assert.deepEqual(offered('weft '), ALL.map(({ name }) => name).sort());
      assert.deepEqual(begun('weft do'), ['docker-opts', 'doctor', 'down'].sort());
    });

    test('flags, all of those that the help of the command has', () => {
      for (const name of ['up', 'status', 'capture']) {
        assert.deepEqual(offered(`weft ${name} -`), flags(name).sort(), name);
      }
      assert.deepEqual(begun('weft up -etcd-pr'), ['-etcd-prefix']);
    });

    test('words of a command, and values of a flag, where they are known', () => {
      assert.deepEqual(offered('weft status '), ['drops', 'peers', 'route', 'routes']);
      assert.deepEqual(offered('weft completion '), ['bash', 'fish', 'zsh']);
      assert.deepEqual(begun('weft help rel'), ['release']);
      const values = offered('weft up -accept=').map((word) => word.replace(/^-accept=/, ''));
      assert.deepEqual(values, ['any', 'peers', 'strict']);
      const links = offered('weft up -iface=').map((word) => word.replace(/^-iface=/, ''));
      assert.ok(links.includes('lo'), links.join());
    });
  });
}
