/* SPDX-License-Identifier: Apache-2.0 */
#include "metad/server/metad_conf.h"

#include <string.h>

/* clang-format off */
static const struct conf_key metad_keys[] = {
    {.name = "metad.listeners", .type = CONF_LIST, .min = 1, .max = METAD_LISTENERS_MAX,
     .doc = "Where clients bootstrap: `NAME://HOST:PORT,...`. A client that comes through listener NAME is given the brokers' "
            "addresses of that name. Not set: one listener `CLIENT` at `metad.listener`."},
    {.name = "metad.listener", .type = CONF_STRING, .fallback = "127.0.0.1:9290", .min = 1, .max = 280,
     .doc = "Shorthand for one listener `CLIENT`: `HOST:PORT`. Port 0 takes a free one."},
    {.name = "auto.create.topics.enable", .type = CONF_BOOL, .fallback = "true",
     .doc = "Whether a client that asks for a topic that is missing, and allows it, has it created."},
    {0},
};

static const struct conf_key metad_daemon_keys[] = {
    {.name = "zookeeper.connect", .type = CONF_STRING, .min = 1, .max = 4096,
     .doc = "The ensemble, and the chroot of the cluster: `HOST:PORT,.../CHROOT`."},
    {.name = "zookeeper.session.timeout.ms", .type = CONF_INT, .fallback = "18000", .min = 100, .max = 3600000,
     .doc = "How long without contact until the session ends."},
    {.name = "inter.broker.listener.name", .type = CONF_STRING, .fallback = "CLIENT", .min = 1,
     .max = METAD_LISTENER_NAME_MAX,
     .doc = "The brokers' listener that admin requests are forwarded to."},
    {.name = "http.listener", .type = CONF_STRING, .min = 1, .max = 280,
     .doc = "Where metrics and health are served by HTTP: `HOST:PORT`. Not set: nowhere."},
    {.name = "max.connections", .type = CONF_INT, .fallback = "0", .min = 0, .max = 10000000,
     .doc = "Connections per listener; 0: no limit but the system's."},
    {.name = "max.connections.per.ip", .type = CONF_INT, .fallback = "0", .min = 0, .max = 10000000,
     .doc = "Connections per listener from one address; 0: no limit."},
    {0},
};
/* clang-format on */

const struct conf_table metad_conf_table = {.title = "Metadata server", .keys = metad_keys};
const struct conf_table metad_daemon_conf_table = {.title = "sluice-metad alone",
                                                   .keys = metad_daemon_keys};

static bool is_taken(const struct metad_conf *m, const char *name)
{
    for (size_t i = 0; i < m->listener_count; i++)
        if (strcmp(m->names[i], name) == 0)
            return true;
    return false;
}

/* NAME://HOST:PORT */
static void add_named(struct conf *c, struct metad_conf *out, const char *text)
{
    const char *separator = strstr(text, "://");
    const size_t size = separator != NULL ? (size_t)(separator - text) : 0;
    if (size == 0 || size > METAD_LISTENER_NAME_MAX) {
        conf_problem(c, "metad.listeners", "\"%s\" is not NAME://HOST:PORT", text);
        return;
    }
    struct metad_listener *l = &out->listeners[out->listener_count];
    char *name = out->names[out->listener_count];
    memcpy(name, text, size);
    name[size] = '\0';
    if (is_taken(out, name))
        conf_problem(c, "metad.listeners", "the name %s is given twice", name);
    else if (address_parse(&l->at, separator + 3, strlen(separator + 3)) != OK)
        conf_problem(c, "metad.listeners", "\"%s\" is not HOST:PORT", separator + 3);
    else
        out->listeners[out->listener_count++].name = name;
}

static void add_single(struct conf *c, struct metad_conf *out)
{
    const char *text = conf_string(c, "metad.listener");
    struct metad_listener *l = &out->listeners[0];
    memcpy(out->names[0], "CLIENT", sizeof "CLIENT");
    l->name = out->names[0];
    if (address_parse(&l->at, text, strlen(text)) != OK)
        conf_problem(c, "metad.listener", "\"%s\" is not HOST:PORT", text);
    else
        out->listener_count = 1;
}

void metad_conf_read(struct conf *c, struct metad_conf *out)
{
    *out = (struct metad_conf){.auto_create_topics = conf_bool(c, "auto.create.topics.enable")};
    if (!conf_is_set(c, "metad.listeners")) {
        add_single(c, out);
        return;
    }
    const struct conf_list list = conf_list(c, "metad.listeners");
    for (size_t i = 0; i < list.count && out->listener_count < METAD_LISTENERS_MAX; i++)
        add_named(c, out, list.items[i]);
}
