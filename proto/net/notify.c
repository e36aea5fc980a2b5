/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/net/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/base/diag.h"

static int send_to(const char *path, const char *state)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const size_t size = strlen(path);
    if (size >= sizeof to.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(to.sun_path, path, size);
    if (path[0] == '@')
        to.sun_path[0] = 0; /* the abstract namespace */
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    const ssize_t sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to,
                                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size));
    const int saved = errno;
    close(fd);
    errno = saved;
    return sent < 0 ? -1 : 0;
}

void notify_manager(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    if (!path || !*path)
        return;
    if (send_to(path, state) != 0)
        diag(DIAG_WARN, "net", "cannot tell the service manager", "socket=%s state=%s errno=%d",
             DIAG_STR(path), DIAG_STR(state), errno);
}
