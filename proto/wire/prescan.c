/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/wire/prescan.h"

#include "proto/base/check.h"
#include "proto/wire/wire.h"

/* A message that the walk is in. */
struct level {
    const ProtobufCMessageDescriptor *type;
    const uint8_t *end;
    uint64_t seen; /* a bit per field, by its place in type->fields */
};

struct walk {
    struct reader r; /* r.end is that of the innermost level */
    struct level levels[MESSAGE_DEPTH_MAX];
    unsigned depth; /* of the innermost level, the outermost is 0 */
    struct wire_budget left;
    const char *wrong; /* NULL: nothing yet */
};

static const uint8_t wire_types[] = {
    [PROTOBUF_C_TYPE_INT32] = WIRE_VARINT,     [PROTOBUF_C_TYPE_SINT32] = WIRE_VARINT,
    [PROTOBUF_C_TYPE_SFIXED32] = WIRE_FIXED32, [PROTOBUF_C_TYPE_INT64] = WIRE_VARINT,
    [PROTOBUF_C_TYPE_SINT64] = WIRE_VARINT,    [PROTOBUF_C_TYPE_SFIXED64] = WIRE_FIXED64,
    [PROTOBUF_C_TYPE_UINT32] = WIRE_VARINT,    [PROTOBUF_C_TYPE_FIXED32] = WIRE_FIXED32,
    [PROTOBUF_C_TYPE_UINT64] = WIRE_VARINT,    [PROTOBUF_C_TYPE_FIXED64] = WIRE_FIXED64,
    [PROTOBUF_C_TYPE_FLOAT] = WIRE_FIXED32,    [PROTOBUF_C_TYPE_DOUBLE] = WIRE_FIXED64,
    [PROTOBUF_C_TYPE_BOOL] = WIRE_VARINT,      [PROTOBUF_C_TYPE_ENUM] = WIRE_VARINT,
    [PROTOBUF_C_TYPE_STRING] = WIRE_BYTES,     [PROTOBUF_C_TYPE_BYTES] = WIRE_BYTES,
    [PROTOBUF_C_TYPE_MESSAGE] = WIRE_BYTES,
};

/* The first thing that is wrong is the one that is told. */
static void refuse(struct walk *w, const char *why)
{
    if (!w->wrong)
        w->wrong = why;
}

static void enter(struct walk *w, const ProtobufCMessageDescriptor *type, struct slice bytes)
{
    CHECK(type->n_fields <= 64);
    w->r = reader_init(bytes);
    w->levels[w->depth] = (struct level){.type = type, .end = w->r.end};
}

static void count_element(struct walk *w)
{
    if (w->left.elements == 0)
        refuse(w, "a message has too many repeated elements");
    else
        w->left.elements--;
}

/* The place of a singular field in `seen`; all fields of a oneof share that of its first. */
static unsigned place_of(const ProtobufCMessageDescriptor *type,
                         const ProtobufCFieldDescriptor *field)
{
    const ProtobufCFieldDescriptor *first = field;
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        for (first = type->fields; first->quantifier_offset != field->quantifier_offset;)
            first++;
    return (unsigned)(first - type->fields);
}

static void count_singular(struct walk *w, const ProtobufCFieldDescriptor *field)
{
    struct level *level = &w->levels[w->depth];
    const uint64_t bit = UINT64_C(1) << place_of(level->type, field);
    if (level->seen & bit)
        refuse(w, "a field that may come once comes twice");
    level->seen |= bit;
}

/* Repeated scalars in one field; protobuf allows that whether or not the schema says packed. */
static void scan_packed(struct walk *w, unsigned wire_type)
{
    struct reader values = reader_init(wire_prefixed(&w->r));
    while (!reader_done(&values) && !w->wrong) {
        count_element(w);
        wire_skip(&values, wire_type);
    }
    if (values.failed)
        reader_fail(&w->r);
}

static void scan_known(struct walk *w, const ProtobufCFieldDescriptor *field, uint32_t tag)
{
    const unsigned wire_type = tag & 7, expected = wire_types[field->type];
    const bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
    if (repeated && wire_type == WIRE_BYTES && expected != WIRE_BYTES) {
        scan_packed(w, expected);
        return;
    }
    if (wire_type != expected) {
        refuse(w, "a field has another type than the schema says");
        return;
    }
    if (repeated)
        count_element(w);
    else
        count_singular(w, field);

    if (field->type == PROTOBUF_C_TYPE_STRING) {
        if (!wire_is_text(wire_prefixed(&w->r)))
            refuse(w, "a string is not UTF-8 or holds a NUL");
    } else if (field->type != PROTOBUF_C_TYPE_MESSAGE) {
        wire_skip(&w->r, tag);
    } else {
        const struct slice message = wire_prefixed(&w->r);
        if (w->depth + 1 == MESSAGE_DEPTH_MAX)
            refuse(w, "messages are nested too deep");
        if (w->r.failed || w->wrong)
            return;
        w->depth++;
        enter(w, field->descriptor, message);
    }
}

static void scan_unknown(struct walk *w, uint32_t tag)
{
    if (w->left.unknown == 0)
        refuse(w, "a message has too many unknown fields");
    else
        w->left.unknown--;
    wire_skip(&w->r, tag);
}

static void scan_field(struct walk *w)
{
    const uint32_t tag = wire_tag(&w->r);
    if (w->r.failed)
        return;
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(w->levels[w->depth].type, tag >> 3);
    if (field)
        scan_known(w, field, tag);
    else
        scan_unknown(w, tag);
}

err prescan(const ProtobufCMessageDescriptor *type, struct slice bytes, const char **what)
{
    return prescan_large(type, bytes, MESSAGE_ELEMENTS_MAX, what);
}

err prescan_large(const ProtobufCMessageDescriptor *type, struct slice bytes, uint32_t elements_max,
                  const char **what)
{
    struct walk w = {.left = WIRE_BUDGET};
    w.left.elements = elements_max;
    enter(&w, type, bytes);
    for (;;) {
        if (w.r.failed)
            refuse(&w, "a message is cut short or malformed");
        if (w.wrong) {
            if (what)
                *what = w.wrong;
            return E_INVALID_REQUEST;
        }
        if (!reader_done(&w.r)) {
            scan_field(&w);
        } else if (w.depth > 0) {
            w.depth--;
            w.r.end = w.levels[w.depth].end;
        } else {
            return OK;
        }
    }
}
