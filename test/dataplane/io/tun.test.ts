/** Runs in-namespace.ts: the TUN's tests, which need root and a network namespace. */
import { testInNamespace } from './root.js';

testInNamespace(
  'the TUN, in a namespace of its own',
  new URL('./in-namespace.js', import.meta.url),
  10,
);
