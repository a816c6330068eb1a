"""Ratings in the layouts of MovieLens, small enough to be read."""

from __future__ import annotations

from pathlib import Path

from raysweep.data.ratings.movielens import Ratings

CSV = "user,item,rating,timestamp,title\n"
ROWS = 'u1,a,3,10,"Comma, The ""Film"" (1999)"\nu2,b,4.5,20,Plain\nu1,b,1,30,Other\n'


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def ml_100k(folder: Path, encoding: str = "latin-1") -> Path:
    write(folder / "u.data", "10\t2\t3\t881250949\n9\t1\t5\t881250950\n9\t2\t1\t881250951\n")
    action = "0|1" + "|0" * 17
    drama = "0|" * 8 + "1" + "|0" * 10
    items = f"1|Léon (1994)|01-Jan-1994||http://x|{action}\n2|Drama, A (1996)|||http://y|{drama}\n"
    write(folder / "u.item", items + f"3|Unrated (1990)|||http://z|{drama}\n", encoding)
    write(folder / "u.user", "9|20|M|writer|1\n10|40|F|other|2\n11|99|F|none|3\n")
    return folder


def ml_1m(folder: Path) -> Path:
    write(folder / "ratings.dat", "10::2::3::978300760\n9::1::5::978302109\n9::2::1::978301968\n")
    movies = "1::Léon: The Pro (1994)::Action|Drama\n2::Drama, A (1996)::Drama\n"
    write(folder / "movies.dat", movies, "latin-1")
    write(folder / "users.dat", "9::M::18::20::55117\n10::F::56::0::02460\n")
    return folder


def ml_latest(folder: Path) -> Path:
    rows = "userId,movieId,rating,timestamp\r\n10,2,3.0,978300760\r\n9,1,0.5,5\r\n9,2,1.0,6\r\n"
    write(folder / "ratings.csv", rows)
    movies = (
        'movieId,title,genres\n1,"Léon, ""The"" Pro (1994)",Action|Drama\n'
        "2,Nothing,(no genres listed)\n"
    )
    write(folder / "movies.csv", movies)
    return folder


def wheel(folder: Path) -> Path:
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    write(folder / "ml-100k.inter", header + "10\t2\t3\t7\n9\t1\t5\t8\n9\t2\t1\t9\n")
    items = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    rows = "1\tLéon\t1994\tAction Drama\n2\tunkonwn\tunkonwn\tunknown\n"
    write(folder / "ml-100k.item", items + rows)
    users = "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    write(folder / "ml-100k.user", users + "9\t20\tM\twriter\t1\n10\t40\tF\tother\t2\n")
    return folder


def columns_of(ratings: Ratings) -> list[list[float]]:
    rows = ratings.interactions
    return [rows.user.tolist(), rows.item.tolist(), rows.rating.tolist()]
