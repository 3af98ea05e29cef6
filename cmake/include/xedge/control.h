/*
 * The PLC's side of a lane in one header, on xedge/ring.h: the decision image read, the rule by
 * which a CLEAR counts, the command image written. docs/control.md is the contract, and
 * xedge.control.rule in Python the reference that this does the same as.
 *
 * Whoever moves the bags calls, in each of its cycles, xedge_rule_see with the image as it was read
 * from the bus, xedge_rule_enter when a bag's tail has passed the beam, xedge_rule_follow for every
 * bag on the way, xedge_rule_answer for the bag at the diverter, which goes through on XEDGE_CLEAR
 * alone, and xedge_rule_commands for what goes back. One thread; nothing is allocated.
 *
 * No functional-safety level is claimed.
 */
#ifndef XEDGE_CONTROL_H
#define XEDGE_CONTROL_H

#include <xedge/ring.h>

#define XEDGE_IMAGE_WORDS 97
#define XEDGE_COMMAND_WORDS 19
#define XEDGE_PLACES 7

typedef enum { XEDGE_NOT_CLEARED, XEDGE_CLEAR, XEDGE_ALARM } xedge_verdict;
typedef enum {
    XEDGE_LANE_DOWN, XEDGE_LANE_STARTING, XEDGE_LANE_RUNNING, XEDGE_LANE_DRAINING,
    XEDGE_LANE_STOPPED, XEDGE_LANE_CONTROL_LOST, XEDGE_LANE_FAULT
} xedge_lane_state;
typedef enum { XEDGE_BELT_STANDING, XEDGE_BELT_FORWARD, XEDGE_BELT_REVERSE } xedge_direction;

/* What an answer rests on. */
typedef enum {
    XEDGE_WHY_DECIDED,
    XEDGE_WHY_NO_IMAGE,    /* none was read, or not a whole one */
    XEDGE_WHY_SILENT,      /* the lane's heartbeat stands */
    XEDGE_WHY_STATE,       /* the lane does not run */
    XEDGE_WHY_EPOCH,       /* the lane was started anew, or not heard when the bag came */
    XEDGE_WHY_NO_DECISION, /* no decision fits the bag */
    XEDGE_WHY_WINDOW,      /* the encoder is outside the decision's window */
    XEDGE_WHY_REVERSED     /* the belt was moved back */
} xedge_why;

/* One decision; bag 0 is none. Places on the belt are encoder counts, cut to 32 bits. */
typedef struct {
    uint32_t bag;
    int32_t head, tail, valid_until;
    uint16_t verdict, reason;
} xedge_decision;

/* A bag on its way to the diverter. */
typedef struct {
    int32_t head, tail;
    uint32_t epoch;
    int expired;
    xedge_decision taken;
} xedge_item;

/* The rule and what it keeps from cycle to cycle; xedge_rule_start sets the limits' defaults. */
typedef struct {
    uint32_t heartbeat_limit_ms, extent_counts, reverse_counts;
    /* Of the last sound image: */
    xedge_lane_state state;
    uint32_t epoch, decisions;
    uint16_t sequence, heartbeat;
    /* The rest is its own. */
    int sound, alive, older, moved, turned;
    uint32_t older_ms, changed_ms, newest;
    int32_t encoder, furthest, turned_at;
    xedge_decision places[XEDGE_PLACES];
    xedge_ring_crc crc;
} xedge_rule;

/* Signed steps from one place of the encoder, or one bag, to a later one. */
static inline int32_t xedge_control_distance(uint32_t later, uint32_t earlier) {
    return (int32_t)(later - earlier);
}

static inline uint32_t xedge_control_pair(const uint16_t *words) {
    return (uint32_t)words[0] << 16 | words[1];
}

static inline void xedge_control_split(uint16_t *words, uint32_t value) {
    words[0] = (uint16_t)(value >> 16);
    words[1] = (uint16_t)value;
}

/* The CRC of words as bytes, the high byte first, behind what had the CRC `sum`. */
static inline uint32_t xedge_control_crc(const xedge_ring_crc *crc, uint32_t sum,
                                         const uint16_t *words, int count) {
    for (int i = 0; i < count; i++) {
        const unsigned char bytes[2] = {(unsigned char)(words[i] >> 8), (unsigned char)words[i]};
        sum = xedge_ring_crc_add(crc, sum, bytes, 2);
    }
    return sum;
}

/* The rule as at power-up: nothing is cleared. */
static inline void xedge_rule_start(xedge_rule *rule) {
    memset(rule, 0, sizeof *rule);
    rule->heartbeat_limit_ms = 1000;
    rule->extent_counts = 64;
    rule->reverse_counts = 16;
    xedge_ring_crc_make(&rule->crc);
}

static inline int xedge_control_header_is_sound(const xedge_rule *rule, const uint16_t *words) {
    return words[0] == 0x5845 && words[1] == 1 && words[2] == words[XEDGE_IMAGE_WORDS - 1] &&
           words[4] <= XEDGE_LANE_FAULT && xedge_control_pair(words + 5) != 0 &&
           xedge_control_crc(&rule->crc, 0, words, 10) == xedge_control_pair(words + 10);
}

/* A decision of the image; bag 0 where there is none, or none that is sound and of its epoch. */
static inline xedge_decision xedge_control_place(const xedge_rule *rule, const uint16_t *words,
                                                 int number) {
    const uint16_t *at = words + 12 + 12 * number;
    xedge_decision found;
    uint32_t sum = xedge_control_crc(&rule->crc, 0, words + 5, 2);
    memset(&found, 0, sizeof found);
    if (xedge_control_crc(&rule->crc, sum, at, 10) == xedge_control_pair(at + 10) &&
        at[6] <= XEDGE_ALARM && at[7] <= 11) {
        found.bag = xedge_control_pair(at);
        found.head = (int32_t)xedge_control_pair(at + 2);
        found.tail = (int32_t)xedge_control_pair(at + 4);
        found.verdict = at[6];
        found.reason = at[7];
        found.valid_until = (int32_t)xedge_control_pair(at + 8);
    }
    return found;
}

/* True unless the image is older than the one before it. */
static inline int xedge_control_listen(xedge_rule *rule, const uint16_t *words, uint32_t now_ms) {
    uint16_t sequence = (uint16_t)(words[2] - rule->sequence);
    uint16_t beat = (uint16_t)(words[3] - rule->heartbeat);
    uint32_t epoch = xedge_control_pair(words + 5);
    rule->sequence = words[2];
    rule->heartbeat = words[3];
    rule->decisions = xedge_control_pair(words + 7);
    if (epoch != rule->epoch) {
        rule->epoch = epoch;
        rule->newest = 0;
        rule->alive = 0; /* a beat of this epoch must be seen first */
    } else if (sequence > 32767 || beat > 32767 || (beat && !sequence)) {
        /* Whoever shows old images may show them in turn, each newer than the one before. */
        rule->alive = 0;
        rule->older = 1;
        rule->older_ms = now_ms;
        return 0;
    } else if (beat && !rule->older) {
        rule->alive = 1;
        rule->changed_ms = now_ms;
    }
    return 1;
}

static inline void xedge_control_watch_belt(xedge_rule *rule, int32_t encoder) {
    uint32_t here = (uint32_t)encoder, there = (uint32_t)rule->furthest;
    if (!rule->moved || xedge_control_distance(here, there) > 0) {
        rule->moved = 1;
        rule->furthest = encoder;
    } else if (xedge_control_distance(there, here) > (int64_t)rule->reverse_counts) {
        rule->turned = 1;
        rule->turned_at = rule->furthest;
    }
    /* so far behind, it cannot be reached again */
    if (rule->turned && xedge_control_distance(here, (uint32_t)rule->turned_at) > 1 << 30)
        rule->turned = 0;
}

/*
 * Take in the image of this cycle, XEDGE_IMAGE_WORDS words or NULL when none was read, the belt's
 * place and a clock that may wrap. Returns 1 when a bag that enters now may be cleared later.
 */
static inline int xedge_rule_see(xedge_rule *rule, const uint16_t *words, int32_t encoder,
                                 uint32_t now_ms) {
    rule->encoder = encoder;
    rule->sound = words && xedge_control_header_is_sound(rule, words);
    if (rule->older && now_ms - rule->older_ms > rule->heartbeat_limit_ms) rule->older = 0;
    if (rule->sound && xedge_control_listen(rule, words, now_ms)) {
        rule->state = (xedge_lane_state)words[4];
        for (int i = 0; i < XEDGE_PLACES; i++)
            rule->places[i] = xedge_control_place(rule, words, i);
    } else
        rule->sound = 0;
    if (now_ms - rule->changed_ms > rule->heartbeat_limit_ms) rule->alive = 0;
    xedge_control_watch_belt(rule, encoder);
    return rule->alive && rule->sound &&
           (rule->state == XEDGE_LANE_RUNNING || rule->state == XEDGE_LANE_DRAINING);
}

/* A bag that has passed the beam; `ready` is what xedge_rule_see returned in this cycle. */
static inline xedge_item xedge_rule_enter(const xedge_rule *rule, int ready, int32_t head,
                                          int32_t tail) {
    xedge_item item;
    memset(&item, 0, sizeof item);
    item.head = head;
    item.tail = tail;
    item.epoch = ready ? rule->epoch : 0;
    return item;
}

static inline int xedge_control_near(const xedge_rule *rule, int32_t one, int32_t other) {
    int64_t apart = xedge_control_distance((uint32_t)one, (uint32_t)other);
    return (apart < 0 ? -apart : apart) <= (int64_t)rule->extent_counts;
}

/* Give a bag the decision that fits it. What was taken over may lose its CLEAR, never gain one. */
static inline void xedge_rule_follow(xedge_rule *rule, xedge_item *item) {
    const xedge_decision *found = NULL;
    if (item->taken.bag && xedge_control_distance((uint32_t)rule->encoder,
                                                  (uint32_t)item->taken.valid_until) > 0)
        item->expired = 1;
    if (!rule->sound || !rule->alive || rule->epoch != item->epoch) return;
    for (int i = 0; i < XEDGE_PLACES; i++) {
        const xedge_decision *place = &rule->places[i];
        if (!place->bag || !xedge_control_near(rule, place->head, item->head) ||
            !xedge_control_near(rule, place->tail, item->tail))
            continue;
        if (found) return; /* two that fit are none */
        found = place;
    }
    if (!found) return;
    if (!item->taken.bag) {
        if (rule->newest && xedge_control_distance(found->bag, rule->newest) <= 0) return;
        rule->newest = found->bag;
        item->taken = *found;
    } else if (found->bag == item->taken.bag && found->verdict != XEDGE_CLEAR)
        item->taken = *found;
}

/* What to do with a bag at the diverter now: only XEDGE_CLEAR lets it pass. `why` may be NULL. */
static inline xedge_verdict xedge_rule_answer(const xedge_rule *rule, const xedge_item *item,
                                              xedge_why *why) {
    xedge_why doubt = XEDGE_WHY_DECIDED;
    uint32_t encoder = (uint32_t)rule->encoder;
    if (!rule->sound)
        doubt = XEDGE_WHY_NO_IMAGE;
    else if (!rule->alive)
        doubt = XEDGE_WHY_SILENT;
    else if (rule->state != XEDGE_LANE_RUNNING && rule->state != XEDGE_LANE_DRAINING)
        doubt = XEDGE_WHY_STATE;
    else if (item->epoch != rule->epoch)
        doubt = XEDGE_WHY_EPOCH;
    else if (!item->taken.bag)
        doubt = XEDGE_WHY_NO_DECISION;
    else if (rule->turned && xedge_control_distance((uint32_t)item->head,
                                                    (uint32_t)rule->turned_at) <= 0)
        doubt = XEDGE_WHY_REVERSED;
    else if (item->expired ||
             xedge_control_distance((uint32_t)item->taken.valid_until, encoder) < 0 ||
             xedge_control_distance(encoder, (uint32_t)item->tail) < 0)
        doubt = XEDGE_WHY_WINDOW;
    if (why) *why = doubt;
    return doubt == XEDGE_WHY_DECIDED ? (xedge_verdict)item->taken.verdict : XEDGE_NOT_CLEARED;
}

/*
 * The command image for this cycle, XEDGE_COMMAND_WORDS words: `beat` goes on by one each time, and
 * `run` lets the lane run. It acknowledges what was taken over. Before the first bag let an image
 * with epoch 0, which is what a rule that has seen nothing gives, stand for two looks of the lane.
 */
static inline void xedge_rule_commands(const xedge_rule *rule, uint16_t *words, uint16_t beat,
                                       int run, xedge_direction direction) {
    memset(words, 0, XEDGE_COMMAND_WORDS * sizeof *words);
    words[0] = 0x5850;
    words[1] = 1;
    words[2] = words[3] = words[XEDGE_COMMAND_WORDS - 1] = beat;
    words[4] = run != 0;
    words[5] = (uint16_t)direction;
    xedge_control_split(words + 6, (uint32_t)rule->encoder);
    xedge_control_split(words + 8, rule->epoch);
    xedge_control_split(words + 10, rule->newest);
    xedge_control_split(words + 16, xedge_control_crc(&rule->crc, 0, words, 16));
}

#endif
