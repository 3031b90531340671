/** The version of this package, as its `package.json` says. */

import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

// One folder up in the sources, two in `dist`: the compiler copies nothing.
export const { version } = require('../../package.json') as { version: string }
