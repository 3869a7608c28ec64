/** Runs queues-in-namespace.ts, which needs root and a network namespace. */
import { testInNamespace } from './root.js';

testInNamespace(
  'the queues of a TUN, in a namespace of its own',
  new URL('./queues-in-namespace.js', import.meta.url),
  1,
);
