/**
 * `npm run demo --keep` in place of `npm run demo -- --keep`: npm takes a flag that stands before `--` for
 * its own and says nothing, so that the script runs without. It is told of here. Imports only `node:`
 * modules, since it runs before there are others.
 */

/** The flags of each script of package.json, as far as npm has none of that name. */
const FLAGS = {
  demo: ['docker', 'keep', 'enter', 'backend', 'store'],
  bench: [
    ...['quick', 'docker', 'out', 'cases', 'systems', 'parts', 'wires', 'repeats', 'seconds'],
    ...['quiet', 'trial-seconds', 'congestion'],
  ],
  soak: ['minutes', 'seed', 'except'],
  'test-fresh': ['debian', 'user'],
  'test-packages': ['brief'],
  'test-units': ['brief'],
};

/** What npm kept of the flags of the script that it runs, and what was meant; undefined where it kept nothing. */
export function keptByNpm(env, script = env.npm_lifecycle_event) {
  const kept = (FLAGS[script] ?? []).flatMap((name) => {
    const value = env[`npm_config_${name.replaceAll('-', '_')}`];
    if (value === undefined) return [];
    return ['', 'true'].includes(value) ? [`--${name}`] : [`--${name}=${value}`];
  });
  if (kept.length === 0) return undefined;
  const meant = kept.join(' ');
  return `npm keeps ${meant} for itself; say: npm run ${script} -- ${meant}`;
}
