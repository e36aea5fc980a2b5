/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/wire/codec.h"

#include <lz4frame.h>
#include <zlib.h>
#include <zstd.h>

#include "proto/base/limits.h"
#include "tests/support/test.h"

static struct codec_ctx *ctx;

static int make_ctx(void **state)
{
    (void)state;
    ctx = codec_ctx_new();
    return 0;
}

static int drop_ctx(void **state)
{
    (void)state;
    codec_ctx_free(ctx);
    return 0;
}

static const enum batch_codec all[] = {CODEC_NONE, CODEC_GZIP, CODEC_SNAPPY, CODEC_LZ4, CODEC_ZSTD};
enum { ALL = sizeof all / sizeof all[0] };

/* Bytes between text and noise, the same for one seed. */
static struct buf sample(struct rng *r, size_t size)
{
    struct buf b = {0};
    static const char words[] =
        "{\"sensor\": 17, \"value\": 42.5, \"unit\": \"celsius\", \"ok\": true}\n";
    buf_reserve(&b, size + sizeof words);
    while (b.size < size) {
        const uint64_t noise = rng_u64(r);
        buf_append(&b, words, 1 + noise % (sizeof words - 1));
        buf_append(&b, &noise, noise >> 62);
    }
    b.size = size;
    return b;
}

static struct buf compressed(enum batch_codec codec, struct slice in)
{
    struct buf out = {0};
    assert_ok(codec_compress(ctx, codec, CODEC_LEVEL_DEFAULT, in, &out));
    return out;
}

static void every_codec_gives_back_what_it_took(void **state)
{
    (void)state;
    struct rng r = test_rng();
    static const size_t sizes[] = {0, 1, 100, 65536, 65537, 300000, 5 * MIB};
    for (int c = 0; c < ALL; c++) {
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            struct buf in = sample(&r, sizes[s]), out = {0};
            struct buf packed = compressed(all[c], buf_slice(&in));
            buf_append_str(&out, "before");
            assert_ok(codec_decompress(ctx, all[c], buf_slice(&packed), in.size, &out));
            assert_slice_equal(slice_of(out.data, 6), slice_str("before"));
            assert_slice_equal(slice_of(out.data + 6, out.size - 6), buf_slice(&in));
            buf_deinit(&in);
            buf_deinit(&out);
            buf_deinit(&packed);
        }
    }
}

static void a_byte_over_the_limit_is_too_large(void **state)
{
    (void)state;
    struct rng r = test_rng();
    for (int c = 0; c < ALL; c++) {
        for (size_t size = 1; size < 2 * MIB; size = size * 3 + 1) {
            struct buf in = sample(&r, size), out = {0};
            struct buf packed = compressed(all[c], buf_slice(&in));
            assert_err(codec_decompress(ctx, all[c], buf_slice(&packed), size - 1, &out),
                       E_MESSAGE_TOO_LARGE);
            assert_int_equal(out.size, 0);
            buf_deinit(&in);
            buf_deinit(&out);
            buf_deinit(&packed);
        }
    }
}

/* Frames as a streaming client makes them, which do not say how long their content is. */
static struct buf streamed(enum batch_codec codec, struct slice in)
{
    struct buf out = {0};
    if (codec == CODEC_ZSTD) {
        ZSTD_CStream *z = ZSTD_createCStream();
        ZSTD_initCStream(z, 3);
        const size_t room = ZSTD_compressBound(in.size) + 64;
        ZSTD_outBuffer o = {.dst = buf_reserve(&out, room), .size = room};
        ZSTD_inBuffer i = {.src = in.data, .size = in.size};
        assert_int_equal(ZSTD_compressStream(z, &o, &i) > (size_t)-100, 0);
        assert_int_equal(ZSTD_endStream(z, &o), 0);
        out.size = o.pos;
        ZSTD_freeCStream(z);
    } else {
        const LZ4F_preferences_t prefs = {
            .frameInfo = {.contentChecksumFlag = LZ4F_contentChecksumEnabled}};
        const size_t room = LZ4F_compressFrameBound(in.size, &prefs);
        out.size = LZ4F_compressFrame(buf_reserve(&out, room), room, in.data, in.size, &prefs);
    }
    return out;
}

static void streamed_frames_are_bounded_too(void **state)
{
    (void)state;
    struct rng r = test_rng();
    static const enum batch_codec codecs[] = {CODEC_LZ4, CODEC_ZSTD};
    for (int c = 0; c < 2; c++) {
        for (size_t size = 1; size < 2 * MIB; size = size * 5 + 1) {
            struct buf in = sample(&r, size), out = {0};
            struct buf packed = streamed(codecs[c], buf_slice(&in));
            assert_ok(codec_decompress(ctx, codecs[c], buf_slice(&packed), size, &out));
            assert_slice_equal(buf_slice(&out), buf_slice(&in));
            buf_clear(&out);
            assert_err(codec_decompress(ctx, codecs[c], buf_slice(&packed), size - 1, &out),
                       E_MESSAGE_TOO_LARGE);
            assert_err(codec_decompress(ctx, codecs[c], slice_of(packed.data, packed.size - 1),
                                        size, &out),
                       E_CORRUPT);
            buf_deinit(&in);
            buf_deinit(&out);
            buf_deinit(&packed);
        }
    }
}

/* lz4 1.9.4 remembers how much an abandoned frame had promised. */
static void a_frame_given_up_leaves_nothing_to_the_next(void **state)
{
    (void)state;
    static const enum batch_codec codecs[] = {CODEC_LZ4, CODEC_ZSTD};
    for (int c = 0; c < 2; c++) {
        struct buf whole = compressed(codecs[c], slice_str("a frame that says how long it is"));
        struct buf other = streamed(codecs[c], slice_str("one that does not"));
        struct buf out = {0};
        assert_err(codec_decompress(ctx, codecs[c], buf_slice(&whole), 10, &out),
                   E_MESSAGE_TOO_LARGE);
        assert_ok(codec_decompress(ctx, codecs[c], buf_slice(&other), MIB, &out));
        buf_clear(&out);
        assert_err(
            codec_decompress(ctx, codecs[c], slice_of(whole.data, whole.size - 1), MIB, &out),
            E_CORRUPT);
        assert_ok(codec_decompress(ctx, codecs[c], buf_slice(&other), MIB, &out));
        assert_slice_equal(buf_slice(&out), slice_str("one that does not"));
        buf_deinit(&whole);
        buf_deinit(&other);
        buf_deinit(&out);
    }
}

static void a_bomb_is_stopped_at_its_limit(void **state)
{
    (void)state;
    static uint8_t zeros[64 * MIB];
    for (int c = 1; c < ALL; c++) {
        struct buf packed = compressed(all[c], slice_of(zeros, sizeof zeros)), out = {0};
        const size_t limit = codec_limit(packed.size);
        const bool fits = limit >= sizeof zeros; /* snappy packs too badly to make one */
        assert_err(codec_decompress(ctx, all[c], buf_slice(&packed), limit, &out),
                   fits ? OK : E_MESSAGE_TOO_LARGE);
        if (!fits)
            assert_true(out.capacity <= 2 * limit);
        buf_deinit(&packed);
        buf_deinit(&out);
    }
}

static void a_claim_of_four_gibibytes_costs_nothing(void **state)
{
    (void)state;
    struct buf out = {0};
    const uint8_t claim[] = {0xff, 0xff, 0xff, 0xff, 0x0f, 0x00};
    assert_err(codec_decompress(ctx, CODEC_SNAPPY, slice_of(claim, sizeof claim), MIB, &out),
               E_MESSAGE_TOO_LARGE);
    assert_int_equal(out.capacity, 0);
}

static void cut_extended_and_joined_frames_are_corrupt(void **state)
{
    (void)state;
    struct rng r = test_rng();
    struct buf in = sample(&r, 2000);
    for (int c = 1; c < ALL; c++) {
        struct buf packed = compressed(all[c], buf_slice(&in)), out = {0};
        for (size_t cut = 0; cut < packed.size; cut++)
            assert_err(codec_decompress(ctx, all[c], slice_of(packed.data, cut), MIB, &out),
                       E_CORRUPT);
        const size_t size = packed.size;
        buf_append(&packed, "", 1);
        assert_err(codec_decompress(ctx, all[c], buf_slice(&packed), MIB, &out), E_CORRUPT);
        packed.size = size;
        buf_reserve(&packed, size);
        buf_append(&packed, packed.data, size);
        assert_err(codec_decompress(ctx, all[c], buf_slice(&packed), MIB, &out), E_CORRUPT);
        packed.size = size;
        assert_ok(codec_decompress(ctx, all[c], buf_slice(&packed), MIB, &out));
        assert_slice_equal(buf_slice(&out), buf_slice(&in));
        buf_deinit(&packed);
        buf_deinit(&out);
    }
    buf_deinit(&in);
}

static void skippable_frames_are_corrupt(void **state)
{
    (void)state;
    uint8_t bytes[16];
    struct buf out = {0};
    const size_t size = test_unhex("50 2a 4d 18  04 00 00 00  00 00 00 00", bytes, sizeof bytes);
    assert_err(codec_decompress(ctx, CODEC_LZ4, slice_of(bytes, size), MIB, &out), E_CORRUPT);
    assert_err(codec_decompress(ctx, CODEC_ZSTD, slice_of(bytes, size), MIB, &out), E_CORRUPT);
    /* Behind a good frame they would add nothing to what it decodes to, and neither does an empty
     * frame. */
    static const enum batch_codec codecs[] = {CODEC_LZ4, CODEC_ZSTD};
    for (int c = 0; c < 2; c++) {
        struct buf packed = compressed(codecs[c], slice_str("text")),
                   empty = compressed(codecs[c], slice_of(NULL, 0));
        const size_t alone = packed.size;
        buf_append(&packed, bytes, size);
        assert_err(codec_decompress(ctx, codecs[c], buf_slice(&packed), MIB, &out), E_CORRUPT);
        packed.size = alone;
        buf_append(&packed, empty.data, empty.size);
        assert_err(codec_decompress(ctx, codecs[c], buf_slice(&packed), MIB, &out), E_CORRUPT);
        packed.size = alone;
        assert_ok(codec_decompress(ctx, codecs[c], buf_slice(&packed), MIB, &out));
        buf_clear(&out);
        buf_deinit(&packed);
        buf_deinit(&empty);
    }
    buf_deinit(&out);
}

static void zlib_and_raw_deflate_are_not_gzip(void **state)
{
    (void)state;
    uint8_t bytes[64];
    uLongf size = sizeof bytes;
    struct buf out = {0};
    assert_int_equal(compress(bytes, &size, (const Bytef *)"text", 4), Z_OK);
    assert_err(codec_decompress(ctx, CODEC_GZIP, slice_of(bytes, size), MIB, &out), E_CORRUPT);
    assert_err(codec_decompress(ctx, CODEC_GZIP, slice_of(bytes + 2, size - 6), MIB, &out),
               E_CORRUPT);
    buf_deinit(&out);
}

static void a_zstd_window_above_eight_mebibytes_is_refused(void **state)
{
    (void)state;
    /* A frame without content size: window descriptor 2^24 or 2^23, then one empty last block. */
    uint8_t bytes[16];
    struct buf out = {0};
    size_t size = test_unhex("28 b5 2f fd  00 70  01 00 00", bytes, sizeof bytes);
    assert_err(codec_decompress(ctx, CODEC_ZSTD, slice_of(bytes, size), MIB, &out), E_CORRUPT);
    size = test_unhex("28 b5 2f fd  00 68  01 00 00", bytes, sizeof bytes);
    assert_ok(codec_decompress(ctx, CODEC_ZSTD, slice_of(bytes, size), MIB, &out));
    assert_int_equal(out.size, 0);
    buf_deinit(&out);
}

static void levels_are_the_codecs_own(void **state)
{
    (void)state;
    struct rng r = test_rng();
    struct buf in = sample(&r, 20000);
    static const struct {
        enum batch_codec codec;
        int level;
        err expected;
    } cases[] = {
        {CODEC_GZIP, 1, OK},
        {CODEC_GZIP, 9, OK},
        {CODEC_GZIP, 10, E_INVALID_CONFIG},
        {CODEC_GZIP, 6, OK},
        {CODEC_LZ4, 12, OK},
        {CODEC_LZ4, 13, E_INVALID_CONFIG},
        {CODEC_ZSTD, 19, OK},
        {CODEC_ZSTD, 23, E_INVALID_CONFIG},
        {CODEC_SNAPPY, 5, OK},
        {CODEC_NONE, 5, OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf packed = {0}, out = {0};
        assert_err(codec_compress(ctx, cases[i].codec, cases[i].level, buf_slice(&in), &packed),
                   cases[i].expected);
        if (cases[i].expected == OK)
            assert_ok(codec_decompress(ctx, cases[i].codec, buf_slice(&packed), in.size, &out));
        assert_int_equal(out.size, cases[i].expected == OK ? in.size : 0);
        buf_deinit(&packed);
        buf_deinit(&out);
    }
    buf_deinit(&in);
}

static void names_and_numbers_belong_together(void **state)
{
    (void)state;
    static const char *const names[] = {"none", "gzip", "snappy", "lz4", "zstd"};
    for (int c = 0; c < ALL; c++) {
        enum batch_codec codec;
        assert_string_equal(codec_name(all[c]), names[c]);
        assert_ok(codec_by_name(names[c], &codec));
        assert_int_equal(codec, all[c]);
    }
    enum batch_codec codec = CODEC_LZ4;
    assert_err(codec_by_name("brotli", &codec), E_UNSUPPORTED_COMPRESSION);
    assert_int_equal(codec, CODEC_LZ4);
    struct buf out = {0};
    for (int c = ALL; c < 8; c++) {
        assert_err(codec_decompress(ctx, (enum batch_codec)c, slice_str("x"), 10, &out),
                   E_UNSUPPORTED_COMPRESSION);
        assert_err(codec_compress(ctx, (enum batch_codec)c, 1, slice_str("x"), &out),
                   E_UNSUPPORTED_COMPRESSION);
    }
}

static void the_limit_follows_the_compressed_size_up_to_a_frame(void **state)
{
    (void)state;
    assert_int_equal(codec_limit(0), DECODED_SLACK);
    assert_int_equal(codec_limit(1000), DECODED_SLACK + 16000);
    assert_int_equal(codec_limit(FRAME_BYTES_MAX), FRAME_BYTES_MAX);
    assert_int_equal(codec_limit(SIZE_MAX), FRAME_BYTES_MAX);
}

/* Goal: damaged input neither crashes nor passes the limit, and leaves the context usable. Method:
 * random damage to frames of each codec; a clean frame decodes after each. */
static void damage_is_survived(void **state)
{
    (void)state;
    struct rng r = test_rng();
    for (int round = 0; round < 4000; round++) {
        const enum batch_codec codec = all[1 + rng_below(&r, ALL - 1)];
        struct buf in = sample(&r, rng_below(&r, 3000)), out = {0};
        struct buf packed = compressed(codec, buf_slice(&in));
        struct buf damaged = {0};
        buf_append(&damaged, packed.data, packed.size);
        for (uint64_t n = 1 + rng_below(&r, 4); n > 0; n--)
            damaged.data[rng_below(&r, damaged.size)] = (uint8_t)rng_u64(&r);
        const size_t limit = rng_below(&r, 6000);
        if (codec_decompress(ctx, codec, buf_slice(&damaged), limit, &out) == OK)
            assert_true(out.size <= limit);
        else
            assert_int_equal(out.size, 0);
        buf_clear(&out);
        assert_ok(codec_decompress(ctx, codec, buf_slice(&packed), in.size, &out));
        assert_slice_equal(buf_slice(&out), buf_slice(&in));
        buf_deinit(&in);
        buf_deinit(&out);
        buf_deinit(&packed);
        buf_deinit(&damaged);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_codec_gives_back_what_it_took),
        cmocka_unit_test(a_byte_over_the_limit_is_too_large),
        cmocka_unit_test(streamed_frames_are_bounded_too),
        cmocka_unit_test(a_frame_given_up_leaves_nothing_to_the_next),
        cmocka_unit_test(a_bomb_is_stopped_at_its_limit),
        cmocka_unit_test(a_claim_of_four_gibibytes_costs_nothing),
        cmocka_unit_test(cut_extended_and_joined_frames_are_corrupt),
        cmocka_unit_test(skippable_frames_are_corrupt),
        cmocka_unit_test(zlib_and_raw_deflate_are_not_gzip),
        cmocka_unit_test(a_zstd_window_above_eight_mebibytes_is_refused),
        cmocka_unit_test(levels_are_the_codecs_own),
        cmocka_unit_test(names_and_numbers_belong_together),
        cmocka_unit_test(the_limit_follows_the_compressed_size_up_to_a_frame),
        cmocka_unit_test(damage_is_survived),
    };
    return TEST_MAIN(tests, make_ctx, drop_ctx);
}
