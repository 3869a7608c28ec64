/**
 * The arrows of docs/architecture.md. Each rule says what a folder may import;
 * whatever is not allowed is an error. Run by `npm run check`.
 */
const only = (name, from, allowed) => ({
  name,
  severity: 'error',
  comment: `${from} may import only: ${allowed.join(', ') || 'nothing of weft'}`,
  from: { path: `^src/${from}` },
  to: { path: '^src/', pathNot: [`^src/${from}`, ...allowed.map((a) => `^src/${a}`)] },
});

module.exports = {
  forbidden: [
    { name: 'no-circular', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'wire-imports-nothing',
      severity: 'error',
      from: { path: '^src/dataplane/wire/' },
      to: { pathNot: '^src/dataplane/wire/' },
    },
    only('routes', 'dataplane/routes/', ['dataplane/wire/']),
    only('io', 'dataplane/io/', ['dataplane/wire/']),
    only('forward', 'dataplane/forward/', [
      'dataplane/wire/',
      'dataplane/routes/',
      'dataplane/io/',
    ]),
    only('store', 'control/store/', ['control/runtime', 'control/shell']),
    only('overlay', 'control/overlay/', [
      'control/runtime',
      'control/shell',
      'control/store/',
      'dataplane/routes/',
      'dataplane/wire/',
    ]),
    only('host', 'control/host/', ['control/runtime', 'control/shell']),
    only('daemon', 'control/daemon/', [
      'control/',
      'dataplane/',
      'operate/status/',
      'operate/findings/',
      'operate/diagnose/',
    ]),
    only('operate', 'operate/', [
      'dataplane/',
      'control/runtime',
      'control/shell',
      'control/store/',
      'control/host/',
    ]),
    only('lab', 'lab/', []),
    {
      name: 'native-is-loaded-by-io-alone',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/dataplane/io/' },
      to: { path: '^native/' },
    },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: { extensions: ['.ts', '.js'] },
  },
};
