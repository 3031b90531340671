/** Entry of a process that does nothing: how late its event loop is, so late is anybody's on this machine. */

import { serve } from './processes.js'

serve({})
