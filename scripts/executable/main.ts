// The entry of dist/runsc.
import { getRawAsset } from 'node:sea';
import { compile, roleOf, run } from './role.ts';

const role = roleOf(process.argv);
run(compile(role, Buffer.from(getRawAsset(`${role}.cache`))), require);
