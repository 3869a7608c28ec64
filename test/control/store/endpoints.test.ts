import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkEndpoints } from '../../../src/control/store/endpoints.js';

test('takes http and https addresses with a port', () => {
  assert.deepEqual(checkEndpoints(['http://127.0.0.1:4001', ' http://etcd.example:2379/']), [
    'http://127.0.0.1:4001',
    'http://etcd.example:2379',
  ]);
  assert.deepEqual(checkEndpoints(['https://[fd00::1]:2379']), ['https://[fd00::1]:2379']);
});

test('refuses others by name, with an example', () => {
  const bad = [
    '127.0.0.1:2379',
    'http//127.0.0.1:2379',
    'http://127.0.0.1',
    'http://:2379',
    'http://127.0.0.1:0',
    'http://127.0.0.1:70000',
    'http://user:secret@127.0.0.1:2379',
    'http://127.0.0.1:2379/v3',
    'ftp://127.0.0.1:21',
    '',
  ];
  for (const endpoint of bad) {
    assert.throws(
      () => checkEndpoints(['http://127.0.0.1:2379', endpoint]),
      (error: Error) =>
        error.message.includes(`"${endpoint}"`) &&
        error.message.includes('example: http://192.168.56.131:2379'),
      endpoint,
    );
  }
  assert.throws(() => checkEndpoints([]), /no etcd endpoint given/);
});

test('refuses to mix http and https', () => {
  assert.throws(
    () => checkEndpoints(['https://127.0.0.1:2379', 'http://127.0.0.1:2379']),
    /https:\/\/127.0.0.1:2379,http:\/\/127.0.0.1:2379 mix http and https/,
  );
});
