/** node_modules, as the lock file says. Imports only `node:` modules, since it brings the others. */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { ending, fail, say, step, unreachable } from './setup-step.mjs';

/**
 * Where Node's own headers are, for npm's node-gyp, which else downloads them: raw-socket needs
 * them. Nothing is said of a Node that came without.
 */
function nodeHeaders() {
  const prefix = path.resolve(path.dirname(fs.realpathSync(process.execPath)), '..');
  const has = fs.existsSync(path.join(prefix, 'include/node/node.h'));
  return has ? { npm_package_config_node_gyp_nodedir: prefix } : {};
}

/** npm as a program and its first words: the one that runs us, where one does. */
function npmWords() {
  const npm = process.env.npm_execpath;
  return npm !== undefined && /\.[cm]?js$/.test(npm) ? [process.execPath, npm] : ['npm'];
}

export async function npmPackages() {
  const [program, ...words] = npmWords();
  // A registry that is away for a moment is asked again; one that is out of reach, not for minutes.
  const quick = '--fetch-retry-maxtimeout=10000';
  const args = [
    ...words,
    'ci',
    quick,
    '--include=dev',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
  ];
  const done = await step('installing the npm packages', program, args, { env: nodeHeaders() });
  if (done.missing) {
    fail(
      "there is no npm. It comes with Node's own archives; Debian has it in a package: apt-get install npm",
    );
  }
  if (!done.ok) {
    // Without a network, npm may retry for a minute and then say nothing but that it failed.
    const ask = () =>
      step('asking for npm’s registry', program, [...words, 'ping', '--fetch-retries=0']);
    const cut = unreachable(done.output) ?? unreachable((await ask()).output);
    if (cut !== undefined) {
      fail(
        `npm does not reach its registry (${cut}): give this machine a network, or npm a registry ` +
          'that it reaches (npm config set registry URL), and run this again',
      );
    }
    fail(`npm ci failed (${done.why}). It said:\n${ending(done.output)}`);
  }
  const load = spawnSync(process.execPath, ['-e', 'require("raw-socket")'], { stdio: 'ignore' });
  if (load.status === 0) return;
  const built = fs.existsSync('node_modules/raw-socket/build/Release/raw.node');
  const asked = spawnSync(program, [...words, 'config', 'get', 'ignore-scripts'], {
    encoding: 'utf8',
  });
  const headers = Object.values(nodeHeaders()).map((folder) => ` --nodedir=${folder}`);
  const scripts = asked.stdout?.trim() !== 'true';
  let why = 'npm is told to run no scripts (ignore-scripts)';
  if (built) {
    why =
      'this Node does not load what was built: it takes a C++ compiler and libstdc++ for the C library ' +
      'that Node is built for (Alpine: apk add make g++ python3)';
  } else if (scripts) why = "it is built by make, g++ and python3 from Node's headers";
  const flag = scripts ? '' : ' --ignore-scripts=false';
  say(
    'going on without the optional package raw-socket: path MTUs are those of routes and devices, ' +
      `not measured; ${why}; to have it: npm rebuild raw-socket${flag}${headers.join('')}`,
  );
}
