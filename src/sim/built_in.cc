// The scenarios that tmem-sim brings along; docs/policies.md has the figures that they give.
#include <array>

#include "sim/scenario.h"

namespace tmem::sim {

namespace {

constexpr std::array<BuiltIn, 9> kBuiltIn = {{
    {"hog", "one guest came first and filled all memory, seldom to use most of it; six want little",
     "capacity 256M\n"
     "guest hog workload=zipf pages=512M resident=64M skew=1 accesses=3000000\n"
     "guest quiet count=6 workload=graph pages=18M resident=12M accesses=400000 start=10 "
     "think=0.00005\n"},
    {"sweeper", "the same, but the one that came first goes through all of its memory all the time",
     "capacity 256M\n"
     "guest sweeper workload=scan pages=320M resident=32M accesses=1500000\n"
     "guest quiet count=6 workload=graph pages=18M resident=12M accesses=400000 start=10 "
     "think=0.00005\n"},
    {"usemem",
     "SmarTmem's synthetic load: three guests fill ever more memory, the third comes late; all are "
     "stopped at once",
     "capacity 128M\n"
     "seconds 60\n"
     "guest early count=2 workload=usemem pages=128M resident=64M\n"
     "guest late workload=usemem pages=128M resident=64M start=3\n"},
    {"graph", "SmarTmem's graph analytics: two guests iterate over a graph, a third comes late",
     "capacity 128M\n"
     "seconds 60\n"
     "guest early count=2 workload=graph pages=128M resident=64M\n"
     "guest late workload=graph pages=128M resident=64M start=3\n"},
    {"batch", "as usemem, but each has a work to finish, and leaves its memory to the others then",
     "capacity 128M\n"
     "guest early count=2 workload=usemem pages=128M resident=64M accesses=1000000\n"
     "guest late workload=usemem pages=128M resident=64M accesses=1000000 start=3\n"},
    {"mixed", "twenty guests of five kinds share what would be enough for two thirds of them",
     "capacity 256M\n"
     "seconds 90\n"
     "guest batch count=4 workload=usemem pages=48M resident=16M think=0.0002\n"
     "guest graph count=4 workload=graph pages=40M resident=16M think=0.0002 start=1\n"
     "guest web count=6 workload=zipf memory=file pages=64M resident=16M think=0.0002\n"
     "guest day count=4 workload=diurnal pages=48M resident=16M think=0.0002 period=20\n"
     "guest backup count=2 workload=scan memory=file pages=256M resident=8M think=0.0002\n"},
    {"caches", "file caches, as Cliffhanger's and Memshare's: some gain by memory, some do not",
     "capacity 96M\n"
     "seconds 90\n"
     "guest skewed workload=zipf memory=file pages=256M resident=8M skew=1.1 think=0.0003\n"
     "guest small workload=zipf memory=file pages=32M resident=8M skew=0.8 think=0.0003\n"
     "guest large workload=zipf memory=file pages=192M resident=8M skew=0.8 think=0.0003\n"
     "guest backup workload=scan memory=file pages=1G resident=8M think=0.0003\n"},
    {"swap-and-caches", "memory moves between swap and file caches, by what it saves",
     "capacity 96M\n"
     "seconds 90\n"
     "guest swap workload=graph pages=80M resident=32M think=0.0003\n"
     "guest idle workload=usemem pages=64M resident=32M think=0.01\n"
     "guest web workload=zipf memory=file pages=128M resident=16M skew=0.9 think=0.0003\n"
     "guest backup workload=scan memory=file pages=1G resident=8M think=0.0003\n"},
    {"fleet", "--guests N small guests, each with a day of its own, and a hog among them",
     "capacity 1G\n"
     "seconds 180\n"
     "guest hog workload=usemem pages=2G resident=64M\n"
     "guest day count=* workload=diurnal pages=3M resident=1M stored=0.4 period=30 think=0.005\n"},
}};

}  // namespace

std::span<const BuiltIn> BuiltInScenarios() { return kBuiltIn; }

}  // namespace tmem::sim
