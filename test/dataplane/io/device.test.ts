/** Runs device-in-namespace.ts, which needs root and a network namespace. */
import { testInNamespace } from './root.js';

testInNamespace(
  "the TUN as a lane's device, in a namespace of its own",
  new URL('./device-in-namespace.js', import.meta.url),
  1,
);
