/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells the service manager how we are (sd_notify(3)): a datagram to the
 * socket that NOTIFY_SOCKET names. Without that variable nothing happens.
 * Never blocks; a failure is one warning. Threads: any.
 */
#ifndef SLUICE_NET_NOTIFY_H
#define SLUICE_NET_NOTIFY_H

/* "READY=1", "STOPPING=1", "STATUS=...", several of them in lines of their own. */
void notify_manager(const char *state);

#endif
