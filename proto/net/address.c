/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "proto/net/loop.h"

static err parse_port(const char *text, size_t size, uint16_t *port)
{
    unsigned v = 0;
    if (size == 0 || size > 5)
        return E_CONFIG;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return E_CONFIG;
        v = v * 10 + (unsigned)(text[i] - '0');
    }
    if (v > UINT16_MAX)
        return E_CONFIG;
    *port = (uint16_t)v;
    return OK;
}

/* Printable and without what would make address_text ambiguous. */
static bool is_host(const char *text, size_t size, bool brackets)
{
    for (size_t i = 0; i < size; i++) {
        const char c = text[i];
        if (c <= ' ' || c >= 0x7f || c == '[' || c == ']' || (c == ':' && !brackets))
            return false;
    }
    return true;
}

err address_parse(struct address *out, const char *text, size_t size)
{
    struct address a = {0};
    const char *host = text;
    size_t host_size;
    const bool brackets = size > 0 && text[0] == '[';
    const char *colon;
    if (brackets) {
        const char *end = memchr(text, ']', size);
        if (!end)
            return E_CONFIG;
        host++;
        host_size = (size_t)(end - host);
        colon = end + 1;
        if (host_size == 0 || colon == text + size || *colon != ':')
            return E_CONFIG;
    } else {
        colon = memchr(text, ':', size);
        if (!colon)
            return E_CONFIG;
        host_size = (size_t)(colon - text);
    }
    if (host_size >= sizeof a.host || !is_host(host, host_size, brackets))
        return E_CONFIG;
    if (parse_port(colon + 1, (size_t)(text + size - colon - 1), &a.port))
        return E_CONFIG;
    memcpy(a.host, host, host_size);
    *out = a;
    return OK;
}

const char *address_text(const struct address *a, char text[ADDRESS_TEXT])
{
    snprintf(text, ADDRESS_TEXT, strchr(a->host, ':') ? "[%s]:%u" : "%s:%u", a->host, a->port);
    return text;
}
