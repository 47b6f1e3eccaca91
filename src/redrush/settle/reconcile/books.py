"""Books of money, held against the log and against each other: bills, packets between people, orders of sales.

They are no projections of anything, so nothing makes them anew; but nearly all that money rests on is written in two
places. Files and tables are checked by the same rules, which are in `bills`, `packets` and `orders` beside this.
"""

from redrush.settle.reconcile.bills import check_accounts, check_bills, check_strays
from redrush.settle.reconcile.book_rows import Books, Kept, Marks, Teller
from redrush.settle.reconcile.journal import Journal
from redrush.settle.reconcile.orders import check_orders
from redrush.settle.reconcile.packets import check_packets
from redrush.settle.reconcile.report import BooksReport, Problems


def check_books(before: Marks, books: Books, journal: Journal, problems: Problems) -> BooksReport:
    """Add to the problems everything in which the books contradict themselves, each other, or the log that was read
    between `before` and `books`; return how much was looked at."""
    kept = Kept(before, books)
    teller = Teller(kept, problems)
    check_bills(kept, teller)
    check_accounts(kept, journal, teller)
    packets = check_packets(kept, journal, teller)
    orders = check_orders(kept, journal, teller)
    check_strays(kept, teller)
    return BooksReport(
        bills=len(kept.bills),
        postings=len(kept.postings),
        packets=packets,
        orders=orders,
        changing=kept.changing,
    )
