import assert from 'node:assert/strict';
import { test } from 'node:test';
import { processName } from '../../../src/control/host/process-name.js';

test('a process is called as its program, whichever Node it runs on', () => {
  assert.equal(processName('flanneld\n', '/opt/bin/flanneld\0-iface=eth0\0'), 'flanneld');
  assert.equal(processName('nginx\n', 'nginx: master process /usr/sbin/nginx\0'), 'nginx');
  assert.equal(processName('node\n', '/usr/bin/node\0a.js\0'), 'node');
  assert.equal(processName('MainThread\n', '/usr/local/bin/node\0weft.js\0up\0'), 'node');
  assert.equal(processName('node-MainThread\n', 'node\0weft.js\0'), 'node');
  assert.equal(processName('MainThread\n', ''), 'MainThread', 'its command line may not be read');
});
