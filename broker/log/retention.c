/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/log/retention.h"

static bool is_expired(const struct log_conf *conf, const struct retention_segment *seg,
                       int64_t now_ms)
{
    if (conf->retention_ms < 0 || seg->max_timestamp == INT64_MIN)
        return false;
    /* Without overflow, whatever a producer's clock said. */
    return seg->max_timestamp < now_ms &&
           (uint64_t)now_ms - (uint64_t)seg->max_timestamp > (uint64_t)conf->retention_ms &&
           seg->quiet_ms > conf->retention_ms;
}

struct retention_decision retention_decide(const struct log_conf *conf,
                                           const struct retention_input *in)
{
    struct retention_decision d = {.start_offset = in->start_offset};
    if (!conf->cleanup_delete || in->count == 0)
        return d;

    uint64_t excess = 0; /* bytes over the limit */
    if (conf->retention_bytes >= 0) {
        uint64_t total = 0;
        for (size_t i = 0; i < in->count; i++)
            total += in->segments[i].size_bytes;
        if (total > (uint64_t)conf->retention_bytes)
            excess = total - (uint64_t)conf->retention_bytes;
    }

    for (size_t i = 0; i < in->count; i++) {
        const struct retention_segment *seg = &in->segments[i];
        const bool is_active = i + 1 == in->count;
        const bool is_below_start = seg->next_offset <= in->start_offset;
        const bool is_over = excess >= seg->size_bytes && seg->size_bytes > 0;
        const bool is_old = is_expired(conf, seg, in->now_ms);
        if (seg->next_offset > in->high_watermark)
            break;
        if (is_active) {
            d.roll_active = is_old && seg->size_bytes > 0;
            break;
        }
        if (!is_below_start && !is_over && !is_old)
            break;
        if (is_over)
            excess -= seg->size_bytes;
        if (seg->next_offset > d.start_offset)
            d.start_offset = seg->next_offset;
    }
    return d;
}
