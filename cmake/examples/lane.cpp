// The lane as a service, from C++: lane FILE.xstrip RING PORT DIVERTER_MM [LINES_A_SECOND]
//
// What a scanner's software does that leaves screening to `xedge serve`: it puts the lines of its
// detector into a ring (here those of a recorded strip file, in real time), tracks the bags by its
// light barrier (here: is the line darker than air?), reads the lane's decisions over Modbus TCP and
// sends every bag that is not CLEAR to the diverter. Nothing is linked but threads. The lane's file:
//
//     [source]
//     kind = "ring"
//     path = "/dev/shm/lane1"
//     correction = "D-7.xflat"      # xedge flatfield make
//     [[bus]]
//     kind = "modbus"
//     role = "server"               # the lane serves, this program asks
//     port = 1502
//
// Start it before the lane: it makes the ring. The belt starts when the lane runs, and never waits
// for it afterwards: of a lane that is late or dead every bag is diverted.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <iostream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <xedge/control.h>
#include <xedge/strip.h>

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// The belt as both threads see it: one feeds lines, the other answers for bags.
struct Belt {
    std::atomic<bool> run{false}, fed{false}, ended{false};
    std::atomic<std::int64_t> encoder{0};
    std::mutex guard;
    std::deque<std::pair<std::int64_t, std::int64_t>> bags;  // that have passed the light barrier
};

// A light barrier made of the detector: darker than 0.9 of air, and air for 24 lines behind a bag.
class LightBarrier {
public:
    explicit LightBarrier(std::size_t elements) : air_(elements) {}

    void learn(const std::uint16_t* low) { std::copy(low, low + air_.size(), air_.begin()); }

    void see(const std::uint16_t* low, std::int64_t encoder, Belt& belt) {
        std::size_t dark = 0;
        for (std::size_t i = 0; i < air_.size(); ++i) dark += 10 * low[i] < 9 * air_[i];
        if (dark >= 4) {
            if (!in_bag_) head_ = encoder;
            in_bag_ = true;
            tail_ = encoder;
            light_ = 0;
        } else if (in_bag_ && ++light_ == 24)
            end(belt);
    }

    // The bag under the beam has ended, if there is one.
    void end(Belt& belt) {
        const std::lock_guard<std::mutex> lock(belt.guard);
        if (in_bag_) belt.bags.emplace_back(head_, tail_);
        in_bag_ = false;
    }

private:
    std::vector<std::uint16_t> air_;
    bool in_bag_ = false;
    int light_ = 0;
    std::int64_t head_ = 0, tail_ = 0;
};

// The count of the first line: where the belt stands before it moves. The file is a copy, and reads on
// by itself. A real encoder is asked instead: the rule takes a count that falls for a belt that ran
// back, and must not see one that is made up.
std::int64_t first_count(xedge_strip_file file) {
    std::vector<std::uint16_t> low(file.elements), high(file.elements);
    xedge_strip strip;
    while (xedge_strip_next(&file, &strip) > 0) {
        if (strip.kind != XEDGE_STRIP_LINES || !strip.intact || !strip.lines) continue;
        std::int64_t encoder;
        xedge_strip_line(&file, &strip, 0, &encoder, low.data(), high.data());
        return encoder;
    }
    return 0;
}

// Lines of the strip file into the ring, at their time; the belt runs on when the file has ended.
// A real detector takes the file's place. The thread does nothing that could wait for the lane.
void feed(xedge_strip_file& file, xedge_ring_writer& ring, double rate, Belt& belt) {
    std::vector<std::uint16_t> low(file.elements), high(file.elements);
    LightBarrier barrier(file.elements);
    xedge_strip strip;
    std::int64_t lines = 0, encoder = 0;
    const auto line_time = std::chrono::nanoseconds(static_cast<std::int64_t>(1e9 / rate));
    auto due = Clock::now();
    int kind;
    while ((kind = xedge_strip_next(&file, &strip)) > 0) {
        for (std::uint32_t i = 0; i < strip.lines; ++i) {
            xedge_strip_line(&file, &strip, i, &encoder, low.data(), high.data());
            if (kind == XEDGE_STRIP_AIR) barrier.learn(low.data());
            if (kind != XEDGE_STRIP_LINES) continue;
            for (; !belt.run; due = Clock::now()) {  // the belt starts when the lane runs
                xedge_ring_beat(&ring);
                std::this_thread::sleep_for(1ms);
            }
            std::this_thread::sleep_until(due);
            due += line_time;
            belt.encoder = encoder;
            barrier.see(low.data(), encoder, belt);
            xedge_ring_write(&ring, strip.first_line + i, encoder, xedge_ring_now(), low.data(),
                             high.data(), strip.intact);
            ++lines;
        }
    }
    barrier.end(belt);
    belt.fed = true;
    if (kind < 0) std::cerr << "lane: " << file.problem << '\n';
    std::cout << "fed " << lines << " lines" << std::endl;
    // Closing the ring ends the lane in good order. A real belt closes it at the end of the day.
    xedge_ring_close(&ring);
    const double counts_a_line = file.counts_per_mm * file.pitch_mm;
    for (double more = 0; !belt.ended; more += counts_a_line) {
        belt.encoder = encoder + static_cast<std::int64_t>(more);
        due += line_time;
        std::this_thread::sleep_until(due);
    }
}

// The registers of a Modbus TCP server: one request at a time, at most 0.3 s each.
class Registers {
public:
    explicit Registers(int port) : port_(port) {}
    Registers(const Registers&) = delete;
    Registers& operator=(const Registers&) = delete;
    ~Registers() { hang_up(); }

    bool read(int first, std::uint16_t* words, int count) {
        const std::vector<unsigned char> ask = {3, high(first), low(first), high(count), low(count)};
        std::vector<unsigned char> answer(2 + 2 * static_cast<std::size_t>(count));
        if (!request(ask, answer) || answer[1] != 2 * count) return false;
        for (int i = 0; i < count; ++i)
            words[i] = static_cast<std::uint16_t>(answer[2 + 2 * i] << 8 | answer[3 + 2 * i]);
        return true;
    }
    bool write(int first, const std::uint16_t* words, int count) {
        std::vector<unsigned char> ask = {16, high(first), low(first), high(count), low(count),
                                          low(2 * count)};
        for (int i = 0; i < count; ++i) ask.insert(ask.end(), {high(words[i]), low(words[i])});
        std::vector<unsigned char> answer(5);
        return request(ask, answer);
    }

private:
    static unsigned char high(int word) { return static_cast<unsigned char>(word >> 8); }
    static unsigned char low(int word) { return static_cast<unsigned char>(word); }

    // True when the answer came whole, and is the function's that was asked for.
    bool request(const std::vector<unsigned char>& ask, std::vector<unsigned char>& answer) {
        ++number_;
        const int length = static_cast<int>(ask.size()) + 1;
        std::vector<unsigned char> frame = {high(number_), low(number_), 0,          0,
                                            high(length),  low(length),  unit_};
        frame.insert(frame.end(), ask.begin(), ask.end());
        std::vector<unsigned char> head(7);
        const auto size = static_cast<ssize_t>(frame.size());
        if (dial() && send(socket_, frame.data(), frame.size(), MSG_NOSIGNAL) == size &&
            take(head) && head[0] == frame[0] && head[1] == frame[1] && take(answer) &&
            answer[0] == ask[0])
            return true;
        hang_up();  // what comes late must not be taken for the next answer
        return false;
    }
    bool take(std::vector<unsigned char>& bytes) const {
        const auto size = static_cast<ssize_t>(bytes.size());
        return recv(socket_, bytes.data(), bytes.size(), MSG_WAITALL) == size;
    }
    bool dial() {
        if (socket_ >= 0) return true;
        socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        timeval limit = {0, 300000};
        const int now = 1;
        setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &now, sizeof now);
        sockaddr_in where{};
        where.sin_family = AF_INET;
        where.sin_port = htons(static_cast<std::uint16_t>(port_));
        where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);  // the lane runs on this machine
        if (connect(socket_, reinterpret_cast<sockaddr*>(&where), sizeof where) == 0) return true;
        hang_up();
        return false;
    }
    void hang_up() {
        if (socket_ >= 0) close(socket_);
        socket_ = -1;
    }

    static constexpr unsigned char unit_ = 1;
    int port_, socket_ = -1;
    std::uint16_t number_ = 0;
};

const char* text(xedge_why why) {
    static const char* const texts[] = {"decided",       "no image",    "silent",
                                        "lane's state",  "other epoch", "no decision",
                                        "out of window", "belt reversed"};
    return texts[why];
}

// Answer for every bag until the lane has ended; how many bags came.
int answer_for_bags(Belt& belt, int port, std::int64_t diverter) {
    Registers registers(port);
    xedge_rule rule;
    xedge_rule_start(&rule);
    std::deque<xedge_item> items;
    std::uint16_t image[XEDGE_IMAGE_WORDS], commands[XEDGE_COMMAND_WORDS], beat = 0;
    const char* const verdicts[] = {"NOT_CLEARED", "CLEAR", "ALARM"};
    int bags = 0, missed = 0;
    auto said_nothing_until = Clock::time_point::max();
    for (auto due = Clock::now();; std::this_thread::sleep_until(due)) {
        due = std::max(due + 10ms, Clock::now());
        const bool fed = belt.fed;  // before the bags: then there are no more to come
        // For 0.2 s the lane reads epoch 0: this program was started anew and tracks no bag.
        const bool look = Clock::now() >= said_nothing_until;
        const bool seen = look && registers.read(0, image, XEDGE_IMAGE_WORDS);
        const auto encoder = belt.encoder.load();
        const auto now_ms = static_cast<std::uint32_t>(xedge_ring_now() / 1000000);
        const int ready = xedge_rule_see(&rule, seen ? image : nullptr,
                                         static_cast<std::int32_t>(encoder), now_ms);
        if (ready) belt.run = true;
        {
            const std::lock_guard<std::mutex> lock(belt.guard);
            for (const auto& [head, tail] : belt.bags)
                items.push_back(xedge_rule_enter(&rule, ready, static_cast<std::int32_t>(head),
                                                 static_cast<std::int32_t>(tail)));
            belt.bags.clear();
        }
        for (xedge_item& item : items) xedge_rule_follow(&rule, &item);
        while (!items.empty() && encoder - items.front().head >= diverter) {
            xedge_why why;
            const xedge_verdict verdict = xedge_rule_answer(&rule, &items.front(), &why);
            std::cout << "bag " << ++bags << (verdict == XEDGE_CLEAR ? " passes: " : " diverted: ")
                      << verdicts[verdict] << ", " << text(why) << std::endl;
            items.pop_front();
        }
        xedge_rule_commands(&rule, commands, ++beat, 1,
                            belt.run ? XEDGE_BELT_FORWARD : XEDGE_BELT_STANDING);
        const bool told = registers.write(200, commands, XEDGE_COMMAND_WORDS);
        if (told && said_nothing_until == Clock::time_point::max())
            said_nothing_until = Clock::now() + 200ms;
        missed = seen && rule.state != XEDGE_LANE_DOWN ? 0 : missed + 1;
        if (fed && items.empty() && missed > 100) return bags;  // the lane has ended as well
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 5) {
        std::cerr << "usage: lane FILE.xstrip RING PORT DIVERTER_MM [LINES_A_SECOND]\n";
        return 2;
    }
    xedge_strip_file file;
    if (xedge_strip_open(&file, argv[1])) {
        std::cerr << "lane: " << argv[1] << ": " << file.problem << '\n';
        return 1;
    }
    const double rate = argc > 5 ? std::atof(argv[5]) : 1000 * file.speed_m_s / file.pitch_mm;
    xedge_ring_detector detector = {file.elements, file.pitch_mm, file.counts_per_mm,
                                    file.speed_m_s, ""};
    xedge_ring_writer ring;
    if (const int failed = xedge_ring_open(&ring, argv[2], &detector, 16384)) {
        std::cerr << "lane: " << argv[2] << ": " << std::strerror(failed) << '\n';
        return 1;
    }
    Belt belt;
    belt.encoder = first_count(file);
    std::thread feeder(feed, std::ref(file), std::ref(ring), rate, std::ref(belt));
    const auto diverter = static_cast<std::int64_t>(std::atof(argv[4]) * file.counts_per_mm);
    const int bags = answer_for_bags(belt, std::atoi(argv[3]), diverter);
    belt.ended = true;
    feeder.join();
    xedge_strip_close(&file);
    std::cout << bags << " bags" << std::endl;
    return 0;
}
