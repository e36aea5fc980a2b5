/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/net/notify.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/diag.h"
#include "proto/net/loop.h"

void notify_manager(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    if (!path || !*path)
        return;
    const int failed = loop_send_datagram(path, state, strlen(state));
    if (failed)
        diag(DIAG_WARN, "net", "cannot tell the service manager", "socket=%s state=%s errno=%d",
             DIAG_STR(path), DIAG_STR(state), failed);
}
